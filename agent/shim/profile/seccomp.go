package profile

import (
	"runtime"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// DefaultSeccomp is the profile for a container with the capabilities, named as
// CAP_NET_ADMIN and so on.
func DefaultSeccomp(caps []string) *specs.LinuxSeccomp {
	refuse := uint(unix.EPERM)
	names := strings.Fields(ordinary)
	for capability, calls := range privileged {
		if slices.Contains(caps, capability) {
			names = append(names, strings.Fields(calls)...)
		}
	}
	slices.Sort(names)
	out := &specs.LinuxSeccomp{
		DefaultAction:   specs.ActErrno,
		DefaultErrnoRet: &refuse,
		Architectures:   architectures(),
		Syscalls:        []specs.LinuxSyscall{{Names: slices.Compact(names), Action: specs.ActAllow}},
	}
	out.Syscalls = append(out.Syscalls, personality()...)
	out.Syscalls = append(out.Syscalls, sockets())
	if !slices.Contains(caps, "CAP_SYS_ADMIN") {
		out.Syscalls = append(out.Syscalls, noNamespaces()...)
	}
	return out
}

// architectures whose programs this machine's kernel runs.
func architectures() []specs.Arch {
	switch runtime.GOARCH {
	case "amd64":
		return []specs.Arch{specs.ArchX86_64, specs.ArchX86, specs.ArchX32}
	case "arm64":
		return []specs.Arch{specs.ArchAARCH64, specs.ArchARM}
	}
	return nil // the kernel's own alone
}

// personality may be asked, or set to what programs legitimately want; never to
// READ_IMPLIES_EXEC or ADDR_NO_RANDOMIZE, which weaken the process.
func personality() []specs.LinuxSyscall {
	const (
		linux    = 0x0
		linux32  = 0x8
		uname26  = 0x20000
		ask      = 0xffffffff
		whichArg = 0
	)
	var out []specs.LinuxSyscall
	for _, value := range []uint64{linux, linux32, uname26, uname26 | linux32, ask} {
		out = append(out, specs.LinuxSyscall{
			Names: []string{"personality"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: whichArg, Value: value, Op: specs.OpEqualTo}},
		})
	}
	return out
}

// sockets of every family but AF_VSOCK, which would lead past the pod's network
// to the hypervisor.
func sockets() specs.LinuxSyscall {
	return specs.LinuxSyscall{
		Names: []string{"socket"}, Action: specs.ActAllow,
		Args: []specs.LinuxSeccompArg{{Index: 0, Value: unix.AF_VSOCK, Op: specs.OpNotEqual}},
	}
}

// noNamespaces allows clone for processes and threads, not for new namespaces.
// clone3 hides its flags behind a pointer; ENOSYS makes programs use clone.
func noNamespaces() []specs.LinuxSyscall {
	const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET
	missing := uint(unix.ENOSYS)
	flags := uint(0)
	if runtime.GOARCH == "s390x" { // has the arguments the other way round
		flags = 1
	}
	return []specs.LinuxSyscall{
		{
			Names: []string{"clone"}, Action: specs.ActAllow,
			Args: []specs.LinuxSeccompArg{{Index: flags, Value: namespaces, ValueTwo: 0, Op: specs.OpMaskedEqual}},
		},
		{Names: []string{"clone3"}, Action: specs.ActErrno, ErrnoRet: &missing},
	}
}
