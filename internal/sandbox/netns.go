package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const netnsFolder = "/run/netns"

// inNetNS calls f with a namespace's handle and a netlink handle inside it; f runs outside. The error wraps
// os.ErrNotExist if there is no such namespace.
func inNetNS(name string, f func(netns.NsHandle, *netlink.Handle) error) error {
	if !isNetNS(filepath.Join(netnsFolder, name)) {
		return fmt.Errorf("network namespace %s: %w", name, os.ErrNotExist)
	}
	ns, err := netns.GetFromName(name)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	return f(ns, inside)
}

// makeNetNS names a new, empty namespace in the way that ip-netns(8) documents; one that is there stays.
func makeNetNS(name string) error {
	file := filepath.Join(netnsFolder, name)
	if isNetNS(file) {
		return nil
	}
	if err := os.MkdirAll(netnsFolder, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return onDisposableThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", file, "", unix.MS_BIND, "")
	})
}

func removeNetNS(name string) error {
	file := filepath.Join(netnsFolder, name)
	for isNetNS(file) {
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting the network namespace %s: %w", name, err)
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// isNetNS tells a mounted namespace from the plain file that it is mounted on.
func isNetNS(file string) bool {
	var st unix.Statfs_t
	return unix.Statfs(file, &st) == nil && st.Type == unix.NSFS_MAGIC
}
