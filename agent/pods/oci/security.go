package oci

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/holt-project/holt/agent/shim/profile"
)

// allCapabilities of Linux 5.9 and newer, in the order of their numbers.
const allCapabilities = `CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
	NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE
	SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL
	SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`

// usualCapabilities are what containers have had since docker's beginnings.
const usualCapabilities = `CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP
	NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE`

// held are all capabilities in a mask: nobody can give what he does not have.
func held(mask uint64) []string {
	var out []string
	for i, name := range strings.Fields(allCapabilities) {
		if mask&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

// capabilities of a container: the usual ones, what it adds, less what it drops. All means all in the mask.
func capabilities(sc *corev1.SecurityContext, mask uint64) []string {
	if privileged(sc) {
		return prefixed(held(mask))
	}
	caps := strings.Fields(usualCapabilities)
	if sc == nil || sc.Capabilities == nil {
		return prefixed(caps)
	}
	drop, add := short(sc.Capabilities.Drop), short(sc.Capabilities.Add)
	if slices.Contains(drop, "ALL") {
		caps = nil
	}
	if slices.Contains(add, "ALL") {
		caps = held(mask)
	}
	for _, c := range add {
		if c != "ALL" && !slices.Contains(caps, c) {
			caps = append(caps, c)
		}
	}
	return prefixed(slices.DeleteFunc(caps, func(c string) bool { return slices.Contains(drop, c) }))
}

func short(caps []corev1.Capability) []string {
	out := make([]string, 0, len(caps))
	for _, c := range caps {
		out = append(out, strings.TrimPrefix(strings.ToUpper(string(c)), "CAP_"))
	}
	return out
}

func prefixed(caps []string) []string {
	out := make([]string, 0, len(caps))
	for _, c := range caps {
		out = append(out, "CAP_"+c)
	}
	slices.Sort(out)
	return out
}

func privileged(sc *corev1.SecurityContext) bool {
	return sc != nil && sc.Privileged != nil && *sc.Privileged
}

// seccomp is the runtime's profile, unless the container or its pod says Unconfined.
func seccomp(pod *corev1.Pod, sc *corev1.SecurityContext, caps []string) (*specs.LinuxSeccomp, error) {
	if privileged(sc) {
		return nil, nil
	}
	var asked *corev1.SeccompProfile
	if pod.Spec.SecurityContext != nil {
		asked = pod.Spec.SecurityContext.SeccompProfile
	}
	if sc != nil && sc.SeccompProfile != nil {
		asked = sc.SeccompProfile
	}
	switch {
	case asked == nil || asked.Type == corev1.SeccompProfileTypeRuntimeDefault:
		return profile.DefaultSeccomp(caps), nil
	case asked.Type == corev1.SeccompProfileTypeUnconfined:
		return nil, nil
	}
	return nil, fmt.Errorf("seccomp profile of type %s is not supported; use RuntimeDefault", asked.Type)
}

// Resolver turns names of a root file system into numbers; image.Store is one.
type Resolver interface {
	ResolveUser(rootfs, user string) (uid, gid uint32, groups []uint32, err error)
}

// User says as whom a container runs: as its pod says, or else as its image says. runAsNonRoot is kept here.
func User(pod *corev1.Pod, c *corev1.Container, imageUser, rootfs string, resolver Resolver) (specs.User, error) {
	asked, group, nonRoot := asUser(pod, c)
	name := imageUser
	if asked != nil {
		name = strconv.FormatInt(*asked, 10)
	}
	uid, gid, groups, err := resolver.ResolveUser(rootfs, name)
	if err != nil {
		return specs.User{}, err
	}
	if group != nil {
		gid = uint32(*group)
	}
	if nonRoot && uid == 0 {
		return specs.User{}, fmt.Errorf("container has runAsNonRoot and would run as root (user %q); set runAsUser", name)
	}
	if sc := pod.Spec.SecurityContext; sc != nil {
		for _, g := range sc.SupplementalGroups {
			groups = append(groups, uint32(g))
		}
		if sc.FSGroup != nil {
			groups = append(groups, uint32(*sc.FSGroup))
		}
	}
	slices.Sort(groups)
	return specs.User{UID: uid, GID: gid, AdditionalGids: slices.Compact(groups)}, nil
}

// asUser merges the container's security context over the pod's.
func asUser(pod *corev1.Pod, c *corev1.Container) (user, group *int64, nonRoot bool) {
	if sc := pod.Spec.SecurityContext; sc != nil {
		user, group = sc.RunAsUser, sc.RunAsGroup
		nonRoot = sc.RunAsNonRoot != nil && *sc.RunAsNonRoot
	}
	if sc := c.SecurityContext; sc != nil {
		if sc.RunAsUser != nil {
			user = sc.RunAsUser
		}
		if sc.RunAsGroup != nil {
			group = sc.RunAsGroup
		}
		if sc.RunAsNonRoot != nil {
			nonRoot = *sc.RunAsNonRoot
		}
	}
	return user, group, nonRoot
}
