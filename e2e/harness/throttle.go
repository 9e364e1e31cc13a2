package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// ErrNoThrottle says that this machine has no cgroup controller that slows down a disk.
var ErrNoThrottle = errors.New("no cgroup controller throttles block devices here")

// Files of the two versions of cgroups, and what lifts their limit.
const (
	throttleV1, unlimitedV1 = "blkio.throttle.write_iops_device", "0"
	throttleV2, unlimitedV2 = "io.max", "max"
)

// Throttle lets the server that runs now write at most so often in a second to its disk. It holds for what runs later
// on the same host too, until Unthrottle. It fails with ErrNoThrottle.
func (d *Disk) Throttle(ctx context.Context, writes int) error {
	return d.limit(ctx, fmt.Sprint(writes), fmt.Sprint(writes))
}

// Unthrottle ends Throttle. The server must run.
func (d *Disk) Unthrottle(ctx context.Context) error { return d.limit(ctx, unlimitedV1, unlimitedV2) }

func (d *Disk) limit(ctx context.Context, v1, v2 string) error {
	file, isV2, err := d.throttleFile(ctx)
	if err != nil {
		return err
	}
	var here unix.Stat_t
	if err := unix.Stat(d.data, &here); err != nil {
		return err
	}
	limit := fmt.Sprintf("%d:%d %s", unix.Major(here.Dev), unix.Minor(here.Dev), v1)
	if isV2 {
		limit = fmt.Sprintf("%d:%d wiops=%s", unix.Major(here.Dev), unix.Minor(here.Dev), v2)
	}
	return os.WriteFile(file, []byte(limit), 0)
}

// throttleFile finds the file of the server's cgroup that takes the limit.
func (d *Disk) throttleFile(ctx context.Context) (file string, isV2 bool, err error) {
	hosts, err := d.cluster.Hosts(ctx)
	if err != nil {
		return "", false, err
	}
	for _, h := range hosts {
		if h.Name == d.server && h.PID != 0 {
			return findThrottle(h.PID)
		}
	}
	return "", false, fmt.Errorf("%s does not run", d.server)
}

func findThrottle(pid int) (file string, isV2 bool, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", false, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return "", false, err
	}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // number, controllers of version 1, path
		if len(parts) != 3 {
			continue
		}
		name := throttleV1
		if isV2 = parts[1] == ""; isV2 {
			name = throttleV2
		}
		for _, m := range mounts {
			file := filepath.Join(m.Mountpoint, parts[2], name)
			if _, err := os.Stat(file); err == nil {
				return file, isV2, nil
			}
		}
	}
	return "", false, ErrNoThrottle
}
