package client

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/cgroup"
	"github.com/holt-project/holt/agent/shim/protocol"
	"github.com/holt-project/holt/agent/shim/record"
)

// Cleanup removes what the shim of a pod has left when it died, or ends it by
// force if it hangs: processes, pinned namespaces, cgroups, socket, records.
// The folder and the shim's log stay, for the caller to remove. It may be
// repeated, and a folder in which no shim ever was is fine.
func Cleanup(ctx context.Context, dir string) error {
	var pod protocol.Pod
	err := record.Read(filepath.Join(dir, protocol.PodFile), &pod)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // written before the first process starts, removed after all is gone
	}
	if err != nil {
		return fmt.Errorf("clean up %s: %w; end the pod's processes and remove the folder by hand", dir, err)
	}
	group, err := cgroup.Open(pod.CgroupParent)
	if err != nil {
		return err
	}
	if err := group.Kill(ctx); err != nil {
		return err
	}
	if err := group.Remove(ctx); err != nil {
		return err
	}
	if err := unpin(filepath.Join(dir, protocol.NamespaceIn)); err != nil {
		return err
	}
	for _, name := range []string{protocol.SocketName, protocol.LockName, protocol.NamespaceIn,
		protocol.RuntimeIn, protocol.StdinIn, protocol.RecordsIn} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return record.Remove(filepath.Join(dir, protocol.PodFile))
}

// unpin unmounts every namespace in a folder. A name may carry several mounts,
// from a start that was broken off and repeated.
func unpin(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		for {
			err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
			if errors.Is(err, unix.EINVAL) { // not a mount
				break
			}
			if err != nil {
				return fmt.Errorf("unpin namespace: %w", &os.PathError{Op: "unmount", Path: path, Err: err})
			}
		}
	}
	return nil
}
