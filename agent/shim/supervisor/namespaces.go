//go:build linux && cgo

package supervisor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
)

// namespaces that the containers of a pod share, by their names in /proc.
var namespaces = []string{"net", "ipc", "uts"}

// namespacePath is where a shared namespace is pinned.
func namespacePath(dir, name string) string {
	return filepath.Join(dir, protocol.NamespaceIn, name)
}

// makeNamespaces makes the pod's namespaces on a thread of their own, sets them
// up and pins them in dir. The thread ends here; the pins keep them alive.
func makeNamespaces(dir string, pod protocol.Pod) error {
	if err := os.MkdirAll(filepath.Join(dir, protocol.NamespaceIn), 0o700); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the runtime ends the thread
		done <- makeNamespacesHere(dir, pod)
	}()
	return <-done
}

func makeNamespacesHere(dir string, pod protocol.Pod) error {
	flags := unix.CLONE_NEWUTS
	if !pod.HostNetwork {
		flags |= unix.CLONE_NEWNET
	}
	if !pod.HostIPC {
		flags |= unix.CLONE_NEWIPC
	}
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("make the pod's namespaces: %w", err)
	}
	if pod.Hostname != "" {
		if err := unix.Sethostname([]byte(pod.Hostname)); err != nil {
			return fmt.Errorf("set hostname %q: %w", pod.Hostname, err)
		}
	}
	if !pod.HostNetwork {
		if err := raiseLoopback(); err != nil {
			return err
		}
	}
	for name, value := range pod.Sysctls {
		if err := setSysctl(pod, name, value); err != nil {
			return err
		}
	}
	for _, name := range namespaces {
		if err := pin("/proc/thread-self/ns/"+name, namespacePath(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

func raiseLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}

// setSysctl sets one kernel parameter of the current thread's namespaces, and
// refuses those that would reach the host (as CVE-2022-0811 did).
func setSysctl(pod protocol.Pod, name, value string) error {
	path := strings.ReplaceAll(name, ".", "/")
	ipc := strings.HasPrefix(path, "kernel/shm") || strings.HasPrefix(path, "kernel/msg") ||
		path == "kernel/sem" || strings.HasPrefix(path, "fs/mqueue/")
	net := strings.HasPrefix(path, "net/")
	if !filepath.IsLocal(path) || filepath.Clean(path) != path ||
		!(ipc && !pod.HostIPC || net && !pod.HostNetwork) {
		return fmt.Errorf("sysctl %q does not belong to a namespace of this pod", name)
	}
	if strings.ContainsAny(value, "\n\x00") {
		return fmt.Errorf("sysctl %q: value %q has a line end", name, value)
	}
	f, err := os.OpenFile(filepath.Join("/proc/sys", path), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("sysctl %q: %w", name, err)
	}
	_, err = f.WriteString(value)
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("sysctl %q: %w", name, err)
	}
	return nil
}

func pin(from, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return err
	}
	f.Close()
	if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("pin %s: %w", to, err)
	}
	return nil
}

// unpinNamespaces lets the namespaces go. It can be repeated.
func unpinNamespaces(dir string) error {
	for _, name := range namespaces {
		path := namespacePath(dir, name)
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("unpin %s: %w", path, err)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
