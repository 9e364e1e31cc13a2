package oci

import (
	"errors"
	"slices"
	"strings"

	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"
	corev1 "k8s.io/api/core/v1"
)

// usualPath is the PATH of an image that sets none.
const usualPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Container is all that a configuration is made from.
type Container struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Image     ociv1.ImageConfig
	Rootfs    string // absolute path of the mounted root file system
	User      specs.User
	Env       *Variables
	Hostname  string
	// Shm is the folder of /dev/shm that the pod shares; empty for one of the container's own.
	Shm string
	// Mounts come after the usual ones: the pod's files and volumes.
	Mounts []specs.Mount
	// Capacity is the node's, for the OOM score.
	Capacity corev1.ResourceList
	// OOMFloor is the least OOM score that this node's agent may give.
	OOMFloor int
	// Capabilities that this node's agent has, as a mask of their numbers: a privileged container gets those.
	Capabilities uint64
}

// Spec makes the runtime configuration.
func Spec(c Container) (*specs.Spec, error) {
	args, err := command(c)
	if err != nil {
		return nil, err
	}
	sc := c.Container.SecurityContext
	caps := capabilities(sc, c.Capabilities)
	filter, err := seccomp(c.Pod, sc, caps)
	if err != nil {
		return nil, err
	}
	score := oomScore(c.Pod, c.Container, c.Capacity, c.OOMFloor)
	out := &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: c.Rootfs, Readonly: sc != nil && sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem},
		Process: &specs.Process{
			Args: args, Env: environment(c), Cwd: workingDir(c), User: c.User,
			Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			NoNewPrivileges: sc != nil && sc.AllowPrivilegeEscalation != nil && !*sc.AllowPrivilegeEscalation,
			OOMScoreAdj:     &score,
			Terminal:        c.Container.TTY,
		},
		Mounts: append(defaultMounts(privileged(sc), c.Shm), c.Mounts...),
		Linux: &specs.Linux{
			Resources:     resources(c.Container),
			Seccomp:       filter,
			MaskedPaths:   maskedPaths,
			ReadonlyPaths: readonlyPaths,
		},
	}
	out.Linux.Resources.Devices = denyDevices()
	if privileged(sc) {
		out.Linux.MaskedPaths, out.Linux.ReadonlyPaths = nil, nil
		out.Linux.Devices = hostDevices()
		out.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	} else if sc != nil && sc.ProcMount != nil && *sc.ProcMount == corev1.UnmaskedProcMount {
		out.Linux.MaskedPaths, out.Linux.ReadonlyPaths = nil, nil
	}
	return out, nil
}

// command follows Kubernetes' table: command replaces the image's entrypoint and with it the image's arguments;
// args replace the image's arguments alone.
func command(c Container) ([]string, error) {
	head, tail := c.Image.Entrypoint, c.Image.Cmd
	expand := func(list []string) []string {
		out := make([]string, 0, len(list))
		for _, text := range list {
			out = append(out, Expand(text, c.Env.Lookup))
		}
		return out
	}
	if len(c.Container.Command) > 0 {
		head, tail = expand(c.Container.Command), nil
	}
	if len(c.Container.Args) > 0 {
		tail = expand(c.Container.Args)
	}
	args := slices.Concat(head, tail)
	if len(args) == 0 {
		return nil, errors.New("no command: neither the container nor its image says what to run; set command")
	}
	return args, nil
}

// environment is the image's with the pod's over it.
func environment(c Container) []string {
	all := &Variables{}
	all.set("PATH", usualPath)
	if c.Hostname != "" {
		all.set("HOSTNAME", c.Hostname)
	}
	if c.Container.TTY {
		all.set("TERM", "xterm")
	}
	for _, line := range slices.Concat(c.Image.Env, c.Env.List()) {
		if name, value, ok := strings.Cut(line, "="); ok && name != "" {
			all.set(name, value)
		}
	}
	return all.List()
}

func workingDir(c Container) string {
	dir := c.Image.WorkingDir
	if c.Container.WorkingDir != "" {
		dir = Expand(c.Container.WorkingDir, c.Env.Lookup)
	}
	if !strings.HasPrefix(dir, "/") {
		return "/" + dir
	}
	return dir
}
