//go:build linux && cgo

package supervisor

import (
	"fmt"
	"path/filepath"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
)

// config turns a request into libcontainer's configuration: the agent's spec,
// placed in this pod's namespaces and cgroup.
func (s *Supervisor) config(c protocol.Container) (*configs.Config, error) {
	spec := *c.Spec
	linux := specs.Linux{}
	if spec.Linux != nil {
		linux = *spec.Linux
	}
	linux.CgroupsPath = filepath.Join(s.pod.CgroupParent, c.ID)
	linux.Namespaces = s.namespacesOf(linux.Namespaces)
	spec.Linux = &linux
	spec.Hostname, spec.Domainname = "", "" // the pod's, not the container's
	process := *spec.Process
	if process.OOMScoreAdj == nil { // not the shim's own
		process.OOMScoreAdj = new(int)
	}
	spec.Process = &process
	return specconv.CreateLibcontainerConfig(&specconv.CreateOpts{CgroupName: c.ID, Spec: &spec})
}

// namespacesOf joins the pod's namespaces and makes the container's own. Of what
// the agent asked for, only a user namespace counts.
func (s *Supervisor) namespacesOf(asked []specs.LinuxNamespace) []specs.LinuxNamespace {
	out := []specs.LinuxNamespace{
		{Type: specs.MountNamespace},
		{Type: specs.UTSNamespace, Path: namespacePath(s.dir, "uts")},
	}
	if !s.pod.HostNetwork {
		out = append(out, specs.LinuxNamespace{Type: specs.NetworkNamespace, Path: namespacePath(s.dir, "net")})
	}
	if !s.pod.HostIPC {
		out = append(out, specs.LinuxNamespace{Type: specs.IPCNamespace, Path: namespacePath(s.dir, "ipc")})
	}
	if !s.pod.HostPID {
		out = append(out, specs.LinuxNamespace{Type: specs.PIDNamespace})
	}
	if cgroups.IsCgroup2UnifiedMode() {
		out = append(out, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
	for _, ns := range asked {
		if ns.Type == specs.UserNamespace {
			out = append(out, ns)
		}
	}
	return out
}

// process turns the spec's process into libcontainer's. What is not set here
// libcontainer takes from the configuration.
func process(p *specs.Process) (*libcontainer.Process, error) {
	out := &libcontainer.Process{
		Args:            p.Args,
		Env:             p.Env,
		UID:             int(p.User.UID),
		GID:             int(p.User.GID),
		Cwd:             p.Cwd,
		AppArmorProfile: p.ApparmorProfile,
		Init:            true,
	}
	if p.ConsoleSize != nil {
		out.ConsoleWidth, out.ConsoleHeight = uint16(p.ConsoleSize.Width), uint16(p.ConsoleSize.Height)
	}
	for _, gid := range p.User.AdditionalGids {
		out.AdditionalGroups = append(out.AdditionalGroups, int(gid))
	}
	for _, limit := range p.Rlimits {
		kind, known := rlimits[limit.Type]
		if !known {
			return nil, fmt.Errorf("rlimit %q is not known", limit.Type)
		}
		out.Rlimits = append(out.Rlimits, configs.Rlimit{Type: kind, Hard: limit.Hard, Soft: limit.Soft})
	}
	return out, nil
}

// rlimits by their names in the OCI runtime spec.
var rlimits = map[string]int{
	"RLIMIT_AS":         unix.RLIMIT_AS,
	"RLIMIT_CORE":       unix.RLIMIT_CORE,
	"RLIMIT_CPU":        unix.RLIMIT_CPU,
	"RLIMIT_DATA":       unix.RLIMIT_DATA,
	"RLIMIT_FSIZE":      unix.RLIMIT_FSIZE,
	"RLIMIT_LOCKS":      unix.RLIMIT_LOCKS,
	"RLIMIT_MEMLOCK":    unix.RLIMIT_MEMLOCK,
	"RLIMIT_MSGQUEUE":   unix.RLIMIT_MSGQUEUE,
	"RLIMIT_NICE":       unix.RLIMIT_NICE,
	"RLIMIT_NOFILE":     unix.RLIMIT_NOFILE,
	"RLIMIT_NPROC":      unix.RLIMIT_NPROC,
	"RLIMIT_RSS":        unix.RLIMIT_RSS,
	"RLIMIT_RTPRIO":     unix.RLIMIT_RTPRIO,
	"RLIMIT_RTTIME":     unix.RLIMIT_RTTIME,
	"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING,
	"RLIMIT_STACK":      unix.RLIMIT_STACK,
}
