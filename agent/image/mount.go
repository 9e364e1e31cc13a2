package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Mount gives a container its root file system: an overlay of the image's layers, with what the container
// writes kept in dir. It returns the mount point, dir/rootfs. It may be called again, also after a restart of
// the machine, with the same image; a dir that stands for another image is an error.
func (s *Store) Mount(ctx context.Context, img Image, dir string) (rootfs string, err error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	lowers := make([]string, 0, len(img.Layers))
	for _, id := range slices.Backward(img.Layers) { // overlayfs wants the uppermost first
		if !s.dir.hasLayer(id) {
			return "", fmt.Errorf("mount image %s: %w: layer %s is gone, pull it again", img.ID, ErrNotFound, id)
		}
		lowers = append(lowers, s.dir.layerFS(id))
	}
	if err := prepare(dir, &lowers); err != nil {
		return "", fmt.Errorf("mount image %s: %w", img.ID, err)
	}
	rootfs = filepath.Join(dir, "rootfs")
	mounted, err := mountinfo.Mounted(rootfs)
	if err != nil {
		return "", fmt.Errorf("mount image %s: %w", img.ID, err)
	}
	if mounted {
		return rootfs, nil
	}
	if err := mountOverlay(dir, len(lowers)); err != nil {
		return "", fmt.Errorf("mount image %s on %s: %w", img.ID, rootfs, err)
	}
	return rootfs, nil
}

// prepare makes the folders of a mount. A link per lower folder gives it a name so short that hundreds fit in
// the page of mount options, and one without the characters that would need quoting there.
func prepare(dir string, lowers *[]string) error {
	for name, mode := range map[string]os.FileMode{"lower": 0o700, "upper": 0o755, "work": 0o700, "rootfs": 0o755, "empty": 0o755} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, mode); err != nil {
			return err
		}
	}
	// The root's mode is the container's; the umask has no say. A container may have changed it since.
	if err := cmp.Or(os.Chmod(filepath.Join(dir, "empty"), 0o755), chmodNew(filepath.Join(dir, "upper"))); err != nil {
		return err
	}
	if len(*lowers) == 0 {
		*lowers = []string{filepath.Join(dir, "empty")} // an overlay needs a lower folder
	}
	for i, target := range *lowers {
		link := filepath.Join(dir, "lower", strconv.Itoa(i))
		err := os.Symlink(target, link)
		if errors.Is(err, fs.ErrExist) {
			var have string
			if have, err = os.Readlink(link); err == nil && have != target {
				err = fmt.Errorf("%s holds the file system of another image; unmount it first", dir)
			}
		}
		if err != nil {
			return err
		}
	}
	if _, err := os.Lstat(filepath.Join(dir, "lower", strconv.Itoa(len(*lowers)))); err == nil {
		return fmt.Errorf("%s holds the file system of another image; unmount it first", dir)
	}
	return nil
}

// chmodNew sets the mode of an upper folder that nothing was written to yet.
func chmodNew(upper string) error {
	entries, err := os.ReadDir(upper)
	if err != nil || len(entries) > 0 {
		return err
	}
	return os.Chmod(upper, 0o755)
}

// mountOverlay mounts with names relative to dir, which takes a working directory of its own: a thread is given
// one, and dies with the goroutine because it stays locked to it.
func mountOverlay(dir string, lowers int) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return fmt.Errorf("unshare: %w", err)
			}
			if err := unix.Chdir(filepath.Join(dir, "lower")); err != nil {
				return err
			}
			names := make([]string, lowers)
			for i := range names {
				names[i] = strconv.Itoa(i)
			}
			// Layers are lower folders of many mounts at once, and containers come and go over the same upper
			// one: the features that tie inodes across layers must be off whatever the kernel's defaults.
			opts := "index=off,metacopy=off,lowerdir=" + strings.Join(names, ":") + ",upperdir=../upper,workdir=../work"
			return unix.Mount("overlay", "../rootfs", "overlay", 0, opts)
		}()
	}()
	return <-result
}

// Unmount undoes Mount and removes dir with all that the container wrote. A dir that does not exist is fine. It
// removes nothing while anything is still mounted below dir.
func (s *Store) Unmount(dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	mounts, err := mountsBelow(dir)
	if err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	for _, m := range mounts {
		// A container that is being killed may hold files for a moment longer; the mount goes with the last one.
		if err := unix.Unmount(m, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", m, err)
		}
	}
	if left, err := mountsBelow(dir); err != nil || len(left) > 0 {
		return fmt.Errorf("unmount %s: still mounted: %v: %w", dir, left, cmp.Or(err, error(unix.EBUSY)))
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// mountsBelow lists mount points at or below dir, those mounted last first.
func mountsBelow(dir string) ([]string, error) {
	real, err := filepath.EvalSymlinks(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	infos, err := mountinfo.GetMounts(mountinfo.PrefixFilter(real))
	if err != nil {
		return nil, err
	}
	var points []string
	for _, i := range slices.Backward(infos) {
		points = append(points, i.Mountpoint)
	}
	return points, nil
}
