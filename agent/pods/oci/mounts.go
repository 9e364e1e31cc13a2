package oci

import (
	"os"
	"path/filepath"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maskedPaths hide what tells about, or reaches, the node.
var maskedPaths = []string{
	"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
	"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
	"/sys/devices/virtual/powercap",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// defaultMounts are what every container sees besides its image. shm is a folder of the node that the pod's
// containers share, or empty for one of the container's own.
func defaultMounts(privileged bool, shm string) []specs.Mount {
	access := "ro"
	if privileged {
		access = "rw"
	}
	out := []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", access}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
			Options: []string{"nosuid", "noexec", "nodev", "relatime", access}},
	}
	if shm != "" {
		return append(out, specs.Mount{Destination: "/dev/shm", Type: "bind", Source: shm,
			Options: []string{"rbind", "nosuid", "nodev", "noexec", "rw"}})
	}
	return append(out, specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
		Options: []string{"nosuid", "noexec", "nodev", "mode=1777", "size=65536k"}})
}

// denyDevices is where the rules begin; the runtime itself adds the six that every container may use.
func denyDevices() []specs.LinuxDeviceCgroup {
	return []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}
}

// hostDevices lists the node's devices for a privileged container: those directly in /dev, and one level below.
func hostDevices() []specs.LinuxDevice {
	var out []specs.LinuxDevice
	for _, pattern := range []string{"/dev/*", "/dev/*/*"} {
		paths, _ := filepath.Glob(pattern) // the pattern is well-formed
		for _, path := range paths {
			if d, ok := deviceAt(path); ok {
				out = append(out, d)
			}
		}
	}
	return out
}

func deviceAt(path string) (specs.LinuxDevice, bool) {
	switch filepath.Dir(path) {
	case "/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd": // mounts of the container's own
		return specs.LinuxDevice{}, false
	}
	if path == "/dev/console" || path == "/dev/ptmx" {
		return specs.LinuxDevice{}, false
	}
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return specs.LinuxDevice{}, false
	}
	kind := ""
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFCHR:
		kind = "c"
	case unix.S_IFBLK:
		kind = "b"
	default:
		return specs.LinuxDevice{}, false
	}
	mode := os.FileMode(stat.Mode & 0o777)
	return specs.LinuxDevice{
		Path: path, Type: kind, FileMode: &mode, UID: &stat.Uid, GID: &stat.Gid,
		Major: int64(unix.Major(stat.Rdev)), Minor: int64(unix.Minor(stat.Rdev)),
	}, true
}
