package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// PowerCut takes the power of the disk's host, and leaves on the disk what was there at this moment: what the server had
// written and not synced, and the kernel not yet sent to the disk, is gone. Nothing of the host runs
// when it returns, and the disk is not mounted.
func (d *Disk) PowerCut(ctx context.Context) error {
	if err := d.cluster.Pause(ctx, d.server); err != nil {
		return err
	}
	crashed := d.image + ".crashed"
	err := Await(ctx, "the disk is copied while nothing is written to it", func(ctx context.Context) error {
		return d.copyStill(ctx, crashed)
	})
	if err != nil {
		return err
	}
	// This unmounts the disk, which writes what was not synced: to the file that is replaced.
	if err := d.cluster.Kill(ctx, d.server); err != nil {
		return err
	}
	return os.Rename(crashed, d.image)
}

// copyStill copies the image, and fails if the kernel wrote to it meanwhile: half of that would be in the copy.
func (d *Disk) copyStill(ctx context.Context, to string) error {
	before, err := d.written()
	if err != nil {
		return err
	}
	if err := command(ctx, "cp", "--sparse=always", d.image, to); err != nil {
		return err
	}
	after, err := d.written()
	if err != nil {
		return err
	}
	if before != after || !before.still() {
		return fmt.Errorf("the kernel was writing: %v, then %v", before, after)
	}
	return nil
}

// deviceWrites is what a block device has been asked to do.
type deviceWrites struct {
	completed, sectors, inFlight uint64
}

func (w deviceWrites) still() bool { return w.inFlight == 0 }

// written reads Documentation/block/stat.rst's file of the disk's loop device.
func (d *Disk) written() (deviceWrites, error) {
	var w deviceWrites
	var here unix.Stat_t
	if err := unix.Stat(d.data, &here); err != nil {
		return w, err
	}
	file := filepath.Join("/sys/dev/block", fmt.Sprintf("%d:%d", unix.Major(here.Dev), unix.Minor(here.Dev)), "stat")
	data, err := os.ReadFile(file)
	if err != nil {
		return w, err
	}
	fields := strings.Fields(string(data))
	if len(fields) < 9 {
		return w, errors.New("unexpected format of " + file)
	}
	_, err = fmt.Sscan(strings.Join([]string{fields[4], fields[6], fields[8]}, " "), &w.completed, &w.sectors, &w.inFlight)
	return w, err
}
