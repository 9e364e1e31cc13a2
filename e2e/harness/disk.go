package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/sandbox"
)

// Disk is a server's data folder on a file system of its own: an ext4 in a file of the sandbox's folder. The sandbox
// unmounts it when the host loses its power, and when it is removed.
type Disk struct {
	cluster *Cluster
	server  string
	image   string
	data    string  // where it is mounted
	thawer  *thawer // nil, unless it is frozen
}

// MoveToDisks moves the data of servers to disks of their own, of size bytes each, in the order of the servers. The
// servers are stopped meanwhile, all at once.
func (c *Cluster) MoveToDisks(ctx context.Context, size int64, servers ...sandbox.Host) ([]*Disk, error) {
	disks, failures := make([]*Disk, len(servers)), make([]error, len(servers))
	var moving sync.WaitGroup
	for i, s := range servers {
		disks[i] = &Disk{
			cluster: c, server: s.Name,
			image: filepath.Join(c.Dir(), s.Name+".img"),
			data:  filepath.Join(c.Dir(), "hosts", s.Name, "data"),
		}
		moving.Go(func() { failures[i] = disks[i].create(ctx, size) })
	}
	moving.Wait()
	return disks, errors.Join(failures...)
}

func (d *Disk) create(ctx context.Context, size int64) error {
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return err
	}
	if err := os.Truncate(d.image, size); err != nil {
		return err
	}
	if err := command(ctx, "mkfs.ext4", "-q", "-m", "0", d.image); err != nil {
		return err
	}
	if err := d.cluster.Stop(ctx, d.server); err != nil {
		return err
	}
	if err := d.move(ctx); err != nil {
		return err
	}
	return d.cluster.Start(ctx, d.server)
}

// move copies what is in the data folder before the disk covers it.
func (d *Disk) move(ctx context.Context) error {
	before := d.data + ".before"
	if err := os.Rename(d.data, before); err != nil {
		return err
	}
	if err := os.Mkdir(d.data, 0o700); err != nil {
		return err
	}
	if err := d.Mount(ctx); err != nil {
		return err
	}
	if err := os.Chmod(d.data, 0o700); err != nil {
		return err
	}
	if err := command(ctx, "cp", "-a", before+"/.", d.data); err != nil {
		return err
	}
	// The server has synced what it wrote; so must be the copy of it.
	if err := command(ctx, "sync", "--file-system", d.data); err != nil {
		return err
	}
	return os.RemoveAll(before)
}

// Server names the server whose data is on the disk.
func (d *Disk) Server() string { return d.server }

// Mount mounts the disk, without ballast, where it is not: a power cut has unmounted it.
func (d *Disk) Mount(ctx context.Context) error {
	mounted, err := d.mounted()
	if err != nil || mounted {
		return err
	}
	if err := d.mount(ctx, "rw"); err != nil {
		return err
	}
	return d.Empty()
}

// MountReadOnly mounts the disk anew, so that nothing can be written. The server must not run.
func (d *Disk) MountReadOnly(ctx context.Context) error {
	if err := d.Remount(ctx); err != nil { // what an error has left behind can only be mended by writing
		return err
	}
	return errors.Join(d.unmount(ctx), d.mount(ctx, "ro"))
}

// Remount takes the disk out and puts it in again: an error of it is forgotten. The server must not run.
func (d *Disk) Remount(ctx context.Context) error {
	return errors.Join(d.unmount(ctx), d.mount(ctx, "rw"))
}

// The commits that ext4 makes by itself, every 5 s, would hide that somebody did not ask for one.
func (d *Disk) mount(ctx context.Context, how string) error {
	return command(ctx, "mount", "-o", "loop,commit=300,"+how, d.image, d.data)
}

func (d *Disk) unmount(ctx context.Context) error { return command(ctx, "umount", d.data) }

func (d *Disk) mounted() (bool, error) {
	var here, above unix.Stat_t
	err := errors.Join(unix.Stat(d.data, &here), unix.Stat(filepath.Dir(d.data), &above))
	return here.Dev != above.Dev, err
}

func (d *Disk) ballast() string { return filepath.Join(d.data, "ballast") }

// Fill takes all that is free.
func (d *Disk) Fill() error {
	if mounted, err := d.mounted(); err != nil || !mounted { // it would fill the machine's
		return errors.Join(fmt.Errorf("the disk of %s is not mounted", d.server), err)
	}
	f, err := os.OpenFile(d.ballast(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var here, above unix.Stat_t
	err = errors.Join(unix.Fstat(int(f.Fd()), &here), unix.Stat(filepath.Dir(d.data), &above))
	if err != nil || here.Dev == above.Dev { // a power cut has unmounted it just now
		return errors.Join(fmt.Errorf("%s has lost its disk", d.server), err, os.Remove(f.Name()))
	}
	return fill(f)
}

// fill takes ever smaller pieces, as the file system needs some of it for itself.
func fill(f *os.File) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return err
	}
	var size int64
	for piece := int64(fs.Bavail) * fs.Bsize; piece >= fs.Bsize; {
		err := unix.Fallocate(int(f.Fd()), 0, size, piece)
		switch {
		case err == nil:
			size += piece
		case errors.Is(err, unix.ENOSPC):
			piece /= 2
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("filling %s: %w", f.Name(), err)
		}
	}
	return nil
}

// Empty removes the ballast.
func (d *Disk) Empty() error {
	err := os.Remove(d.ballast())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// TurnReadOnly makes the file system refuse all writes from now on, as ext4 does by itself after an error of the
// device: a disk with open files cannot be remounted read-only. Only Remount ends it.
func (d *Disk) TurnReadOnly(ctx context.Context) error {
	return command(ctx, "mount", "-o", "remount,abort", d.data)
}

func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
