package sandbox

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// unmountBelow unmounts everything at or below dir in this mount namespace. It returns an error if anything is left.
func unmountBelow(dir string) error {
	for {
		mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
		if err != nil {
			return fmt.Errorf("listing mounts: %w", err)
		}
		if len(mounts) == 0 {
			return nil
		}
		// A bind mount of a shared folder of the machine would pass on what is unmounted below it: to the machine.
		for _, m := range mounts {
			if err := unix.Mount("", m.Mountpoint, "", unix.MS_PRIVATE, ""); err != nil && !errors.Is(err, unix.EINVAL) {
				return fmt.Errorf("making the mount %s private: %w", m.Mountpoint, err)
			}
		}
		progress := false
		var failure error
		for i := len(mounts) - 1; i >= 0; i-- {
			if err := unix.Unmount(mounts[i].Mountpoint, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
				failure = fmt.Errorf("unmounting %s: %w", mounts[i].Mountpoint, err)
				continue
			}
			progress = true
		}
		if !progress {
			return failure
		}
	}
}

// fiThaw is FITHAW of linux/fs.h.
const fiThaw = 0xC0045878

// thawBelow thaws the images at or below dir whose file systems are frozen (fsfreeze): who waits for one cannot be
// killed, and one that is unmounted stays in the kernel for ever, and its loop device too.
func thawBelow(dir string) error {
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(dir))
	if err != nil {
		return fmt.Errorf("listing mounts: %w", err)
	}
	for _, m := range mounts {
		if !strings.HasPrefix(m.Source, "/dev/loop") {
			continue // perhaps a folder of the machine's, which others freeze
		}
		f, err := os.Open(m.Mountpoint)
		if err != nil {
			return err
		}
		err = unix.IoctlSetInt(int(f.Fd()), fiThaw, 0)
		_ = f.Close()
		notFrozen := errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
		if err != nil && !notFrozen {
			return fmt.Errorf("thawing %s: %w", m.Mountpoint, err)
		}
	}
	return nil
}

// removeTree removes dir and all below it, after it has made sure that nothing is mounted there.
func removeTree(dir string) error {
	if err := unmountBelow(dir); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
