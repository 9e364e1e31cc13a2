package node

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// Below these shares (and for memory this amount) the node is under pressure; Kubernetes' hard eviction thresholds.
const (
	minMemory     = 100 << 20
	minDiskShare  = 10
	minPIDPercent = 10
)

// pressure is one thing that a node can run out of.
type pressure struct {
	condition         corev1.NodeConditionType
	short             bool
	scarce, plenty    string // reasons
	scarceMsg, enough string
}

func (p pressure) status() corev1.ConditionStatus {
	if p.short {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func (p pressure) reason() string { return pick(p.short, p.scarce, p.plenty) }

func (p pressure) message() string { return pick(p.short, p.scarceMsg, p.enough) }

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// pressures looks at memory, the disk of dir, and process IDs. What cannot be read counts as enough.
func pressures(dir string) []pressure {
	return []pressure{
		{corev1.NodeMemoryPressure, memoryShort(), "LowMemory", "SufficientMemory",
			"The node is short of memory", "The node has enough memory available"},
		{corev1.NodeDiskPressure, diskShort(dir), "LowDisk", "NoDiskPressure",
			"The node is short of disk", "The node has enough disk available"},
		{corev1.NodePIDPressure, pidsShort(), "LowPID", "SufficientPID",
			"The node is short of process IDs", "The node has enough process IDs available"},
	}
}

func memoryShort() bool {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "MemAvailable:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return err == nil && kib<<10 < minMemory
		}
	}
	return false
}

func diskShort(dir string) bool {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Blocks == 0 {
		return false
	}
	return fs.Bavail*100 < fs.Blocks*minDiskShare
}

func pidsShort() bool {
	// The fourth field of loadavg is running/all threads.
	load := strings.Fields(firstLine("/proc/loadavg"))
	if len(load) < 4 {
		return false
	}
	_, all, _ := strings.Cut(load[3], "/")
	used, err1 := strconv.ParseInt(all, 10, 64)
	limit, err2 := strconv.ParseInt(firstLine("/proc/sys/kernel/pid_max"), 10, 64)
	return err1 == nil && err2 == nil && (limit-used)*100 < limit*minPIDPercent
}
