package figures

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Busy is the time for which all processors together have worked since the machine started, whoever they worked for: the
// first line of /proc/stat, without what was idle, waited for a disk or is counted twice.
func Busy() (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(first)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("unexpected format of /proc/stat: %q", first)
	}
	var total time.Duration
	for i, field := range fields[1:9] { // user nice system idle iowait irq softirq steal
		ticks, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("unexpected format of /proc/stat: %w", err)
		}
		if i != 3 && i != 4 {
			total += time.Duration(ticks) * tick
		}
	}
	return total, nil
}

// Own is the CPU time of this process and of those that it has started and that have ended.
func Own() (time.Duration, error) {
	var total time.Duration
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var u syscall.Rusage
		if err := syscall.Getrusage(who, &u); err != nil {
			return 0, err
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total, nil
}
