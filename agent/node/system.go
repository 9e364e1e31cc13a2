package node

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// maxPods is how many pods a node takes, as in Kubernetes.
const maxPods = 110

// What of a node is kept for the system and the agent.
const (
	reservedMilliCPU = 100
	reservedMemory   = 256 << 20
)

// kubeVersion is the version of Kubernetes whose nodes this one behaves like.
const kubeVersion = "v1.37.2+holt"

// systemInfo reads what the machine says of itself. What cannot be read stays empty, as it does in Kubernetes.
func systemInfo(version string) corev1.NodeSystemInfo {
	var u unix.Utsname
	_ = unix.Uname(&u) // cannot fail with a valid buffer
	return corev1.NodeSystemInfo{
		MachineID:               firstLine("/etc/machine-id"),
		SystemUUID:              firstLine("/sys/class/dmi/id/product_uuid"),
		BootID:                  firstLine("/proc/sys/kernel/random/boot_id"),
		KernelVersion:           unix.ByteSliceToString(u.Release[:]),
		OSImage:                 osImage(),
		OperatingSystem:         runtime.GOOS,
		Architecture:            runtime.GOARCH,
		ContainerRuntimeVersion: "holt://" + version,
		KubeletVersion:          kubeVersion,
	}
}

func firstLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

func osImage() string {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "Linux"
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "PRETTY_NAME="); ok {
			return strings.Trim(name, `"`)
		}
	}
	return "Linux"
}

// resources returns what the node has and what of it pods may take. dir is on the disk that pods use.
func resources(dir string) (capacity, allocatable corev1.ResourceList, err error) {
	var s unix.Sysinfo_t
	if err := unix.Sysinfo(&s); err != nil {
		return nil, nil, fmt.Errorf("memory size: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return nil, nil, fmt.Errorf("disk size of %s: %w", dir, err)
	}
	cpu := int64(runtime.NumCPU()) * 1000
	memory := int64(s.Totalram) * int64(s.Unit)
	disk := int64(fs.Blocks) * fs.Bsize
	capacity = list(cpu, memory, disk)
	// A tenth of the disk stays free: beyond that, nodes evict.
	allocatable = list(max(cpu-reservedMilliCPU, cpu/2), max(memory-reservedMemory, memory/2), disk/10*9)
	return capacity, allocatable, nil
}

func list(milliCPU, memory, disk int64) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewMilliQuantity(milliCPU, resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(memory, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(disk, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(maxPods, resource.DecimalSI),
	}
}
