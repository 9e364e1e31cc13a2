package pods

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/agent/pods/oci"
)

// shmSize of a pod's /dev/shm.
const shmSize = "64m"

// ground is what the containers of one pod find besides their images: files, /dev/shm and volumes.
type ground struct {
	dir     string // the pod's folder on the disk
	cfg     *Config
	sources oci.Source
}

func (g *ground) etc(name string) string { return filepath.Join(g.dir, "etc", name) }

func (g *ground) shm() string { return filepath.Join(g.dir, "volumes", "shm") }

// hostname of a pod: at most 63 bytes, which is what the kernel and DNS take.
func hostname(pod *corev1.Pod) string {
	name := pod.Spec.Hostname
	if name == "" {
		name = pod.Name
	}
	if len(name) > 63 {
		name = strings.TrimRight(name[:63], "-.")
	}
	return name
}

// files writes hosts, hostname and resolv.conf.
func (g *ground) files(pod *corev1.Pod, ip string) error {
	if err := os.MkdirAll(filepath.Join(g.dir, "etc"), 0o755); err != nil {
		return err
	}
	name := hostname(pod)
	if pod.Spec.HostNetwork {
		if own, err := os.Hostname(); err == nil {
			name = own
		}
	}
	hosts, err := g.hosts(pod, ip)
	if err != nil {
		return err
	}
	texts := map[string]string{"hosts": hosts, "hostname": name + "\n"}
	if g.cfg.Resolv != nil {
		if texts["resolv.conf"], err = g.cfg.Resolv(pod); err != nil {
			return fmt.Errorf("resolv.conf: %w", err)
		}
	}
	for name, text := range texts {
		if err := os.WriteFile(g.etc(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (g *ground) hosts(pod *corev1.Pod, ip string) (string, error) {
	var out strings.Builder
	if pod.Spec.HostNetwork {
		own, err := os.ReadFile("/etc/hosts")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		out.Write(own)
	} else {
		out.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
		names := hostname(pod)
		if pod.Spec.Subdomain != "" {
			names = fmt.Sprintf("%s.%s.%s.svc.%s\t%s", names, pod.Spec.Subdomain, pod.Namespace, g.cfg.ClusterDomain, names)
		}
		fmt.Fprintf(&out, "%s\t%s\n", ip, names)
	}
	for _, alias := range pod.Spec.HostAliases {
		fmt.Fprintf(&out, "%s\t%s\n", alias.IP, strings.Join(alias.Hostnames, "\t"))
	}
	return out.String(), nil
}

// makeShm mounts the /dev/shm that the pod's containers share.
func (g *ground) makeShm() error {
	return mountTmpfs(g.shm(), "mode=1777,size="+shmSize)
}

// mountTmpfs mounts a tmpfs on a folder of our own, unless one is mounted there already.
func mountTmpfs(dir, options string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	mounted, err := mountinfo.Mounted(dir)
	if err != nil || mounted {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// mounts are those of one container: the pod's files, then its volumes, by their paths. volumes are by name.
func (g *ground) mounts(pod *corev1.Pod, c *corev1.Container, volumes map[string]string, message string) ([]specs.Mount, error) {
	var out []specs.Mount
	add := func(source, target string, options ...string) {
		out = append(out, specs.Mount{Destination: target, Type: "bind", Source: source, Options: append([]string{"rbind"}, options...)})
	}
	access := "rw"
	if sc := c.SecurityContext; sc != nil && sc.ReadOnlyRootFilesystem != nil && *sc.ReadOnlyRootFilesystem {
		access = "ro"
	}
	taken := func(path string) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return filepath.Clean(m.MountPath) == path })
	}
	for _, name := range []string{"hosts", "hostname", "resolv.conf"} {
		if _, err := os.Stat(g.etc(name)); err == nil && !taken("/etc/"+name) {
			add(g.etc(name), "/etc/"+name, access)
		}
	}
	if path := messagePath(c); !taken(path) {
		add(message, path, "rw")
	}
	sorted := slices.Clone(c.VolumeMounts)
	slices.SortStableFunc(sorted, func(a, b corev1.VolumeMount) int { // a folder before what is mounted in it
		return strings.Compare(filepath.Clean(a.MountPath), filepath.Clean(b.MountPath))
	})
	for _, m := range sorted {
		source, ok := volumes[m.Name]
		if !ok {
			return nil, fmt.Errorf("volume %q is not in the pod", m.Name)
		}
		options := []string{"rw", "rprivate"}
		if m.ReadOnly || readOnlyVolume(pod, m.Name) {
			options[0] = "ro"
		}
		if p := m.MountPropagation; p != nil && *p == corev1.MountPropagationHostToContainer {
			options[1] = "rslave"
		} else if p != nil && *p == corev1.MountPropagationBidirectional {
			options[1] = "rshared"
		}
		target := m.MountPath
		if !filepath.IsAbs(target) {
			target = "/" + target
		}
		add(source, target, options...)
	}
	return out, nil
}

// messagePath is where a container leaves its last words.
func messagePath(c *corev1.Container) string {
	if c.TerminationMessagePath == "" {
		return corev1.TerminationMessagePathDefault
	}
	return filepath.Clean("/" + c.TerminationMessagePath)
}

// unmountAll undoes every mount below the pod's folder, those mounted last first.
func unmountAll(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(real))
	if err != nil {
		return err
	}
	for _, m := range slices.Backward(mounts) {
		if err := unix.Unmount(m.Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", m.Mountpoint, err)
		}
	}
	return nil
}
