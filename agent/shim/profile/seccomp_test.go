package profile_test

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holt-project/holt/agent/shim/profile"
)

// allowed: the profile allows the call whatever its arguments.
func allowed(p *specs.LinuxSeccomp, call string) bool {
	return slices.ContainsFunc(p.Syscalls, func(rule specs.LinuxSyscall) bool {
		return rule.Action == specs.ActAllow && len(rule.Args) == 0 && slices.Contains(rule.Names, call)
	})
}

func TestACapabilityBringsItsCallsAndNoOthers(t *testing.T) {
	plain := profile.DefaultSeccomp(nil)
	for _, call := range []string{"read", "openat", "execve", "futex", "epoll_pwait", "clock_nanosleep"} {
		if !allowed(plain, call) {
			t.Errorf("%s is refused", call)
		}
	}
	for _, call := range []string{
		"mount", "unshare", "setns", "bpf", "reboot", "init_module", "kexec_load", "keyctl", "add_key",
		"io_uring_setup", "userfaultfd", "open_by_handle_at", "perf_event_open", "clone", "clone3", "socket",
	} {
		if allowed(plain, call) {
			t.Errorf("%s is allowed to everybody", call)
		}
	}
	for capability, call := range map[string]string{
		"CAP_SYS_ADMIN": "mount", "CAP_SYS_BOOT": "reboot", "CAP_SYS_CHROOT": "chroot", "CAP_SYSLOG": "syslog",
	} {
		if !allowed(profile.DefaultSeccomp([]string{capability}), call) {
			t.Errorf("%s does not bring %s", capability, call)
		}
	}
	if allowed(profile.DefaultSeccomp([]string{"CAP_NET_ADMIN"}), "mount") {
		t.Error("CAP_NET_ADMIN brings mount")
	}
}

func TestTheProfileIsTheSameEachTime(t *testing.T) {
	caps := []string{"CAP_SYS_ADMIN", "CAP_SYS_TIME", "CAP_CHOWN"}
	a, b := profile.DefaultSeccomp(caps), profile.DefaultSeccomp(caps)
	if !slices.Equal(a.Syscalls[0].Names, b.Syscalls[0].Names) {
		t.Error("the order of calls differs")
	}
}
