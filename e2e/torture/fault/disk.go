package fault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/e2e/harness"
)

// diskSize holds what a server writes in an hour of a run's load.
const diskSize = 512 << 20

// smallDisk is a server's data folder on a file system of its own: an ext4 in a file of the sandbox's folder. The
// sandbox unmounts it when the host loses its power, and when it is removed.
type smallDisk struct {
	server string
	image  string
	data   string
}

// newSmallDisk moves a server's data to a disk of its own. The server is stopped meanwhile.
func newSmallDisk(ctx context.Context, c *harness.Cluster, server string) (*smallDisk, error) {
	d := &smallDisk{
		server: server,
		image:  filepath.Join(c.Dir(), server+".img"),
		data:   filepath.Join(c.Dir(), "hosts", server, "data"),
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, diskSize); err != nil {
		return nil, err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-m", "0", d.image); err != nil {
		return nil, err
	}
	if err := c.Stop(ctx, server); err != nil {
		return nil, err
	}
	if err := d.move(ctx); err != nil {
		return nil, err
	}
	return d, c.Start(ctx, server)
}

// move copies what is in the data folder before the disk covers it.
func (d *smallDisk) move(ctx context.Context) error {
	before := d.data + ".before"
	if err := os.Rename(d.data, before); err != nil {
		return err
	}
	if err := os.Mkdir(d.data, 0o700); err != nil {
		return err
	}
	if err := d.mount(ctx); err != nil {
		return err
	}
	if err := os.Chmod(d.data, 0o700); err != nil {
		return err
	}
	if err := command(ctx, "cp", "-a", before+"/.", d.data); err != nil {
		return err
	}
	return os.RemoveAll(before)
}

// mount mounts the disk, without ballast, where it is not: a power cut has unmounted it.
func (d *smallDisk) mount(ctx context.Context) error {
	var here, above unix.Stat_t
	if err := errors.Join(unix.Stat(d.data, &here), unix.Stat(filepath.Dir(d.data), &above)); err != nil {
		return err
	}
	if here.Dev != above.Dev {
		return nil
	}
	if err := command(ctx, "mount", "-o", "loop", d.image, d.data); err != nil {
		return err
	}
	return d.empty()
}

func (d *smallDisk) ballast() string { return filepath.Join(d.data, "ballast") }

// fill takes all that is free.
func (d *smallDisk) fill() error {
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	if int64(fs.Blocks)*fs.Bsize > diskSize { // the machine's, because a power cut has unmounted the small one
		return errors.Join(fmt.Errorf("%s has lost its disk", d.server), os.Remove(f.Name()))
	}
	// In ever smaller pieces, as the file system needs some of it for itself.
	var size int64
	for piece := int64(fs.Bavail) * fs.Bsize; piece >= fs.Bsize; {
		err := unix.Fallocate(int(f.Fd()), 0, size, piece)
		switch {
		case err == nil:
			size += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("filling %s: %w", d.data, err)
		}
	}
	return nil
}

// empty removes the ballast.
func (d *smallDisk) empty() error {
	err := os.Remove(d.ballast())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
