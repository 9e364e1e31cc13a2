package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// downTimeout bounds a removal; it takes a second, unless a process cannot be killed.
const downTimeout = 2 * time.Minute

// Down removes a sandbox below $HOLT_SANDBOX_ROOT or else /var/lib/holt/sandboxes, however far its Up came. It
// reports whether there was one. It can be repeated after an error; then files are the last that it removes.
func Down(ctx context.Context, name string) (found bool, err error) {
	if err := requireRoot(); err != nil {
		return false, err
	}
	dir, err := folderOf(name)
	if err != nil {
		return false, err
	}
	return down(ctx, dir)
}

// Down is the function Down for this sandbox. It joins the processes that this handle started.
func (s *Sandbox) Down(ctx context.Context) error {
	if err := requireRoot(); err != nil {
		return err
	}
	if _, err := down(ctx, s.dir); err != nil {
		return err
	}
	s.joinAll()
	return nil
}

func down(ctx context.Context, dir string) (found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	unlock, err := lockFolder(ctx, dir, unix.LOCK_EX)
	gone := errors.Is(err, os.ErrNotExist)
	if err != nil && !gone {
		return false, err
	}
	if !gone {
		defer unlock()
	}
	// Read with the lock held: an Up that was at work a moment ago may have written it since.
	rec, err := readRecord(dir)
	if errors.Is(err, os.ErrNotExist) {
		rec, err = recoverRecord(dir)
	}
	if err != nil {
		return true, err
	}
	if gone && rec == nil {
		return false, nil
	}
	s, err := newSandbox(dir, rec, slog.New(slog.DiscardHandler))
	if err != nil {
		return true, err
	}
	if gone {
		return true, s.removeFromKernel(ctx)
	}
	return true, s.tearDown(ctx)
}

// recoverRecord finds in the kernel what is left of a sandbox whose folder somebody removed: as much of its record as
// it takes to remove that too. It returns nil if no bridge claims the folder.
func recoverRecord(dir string) (*record, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	r := record{Name: filepath.Base(dir), Index: -1}
	for _, l := range links {
		if l.Attrs().Alias != claimPrefix+dir {
			continue
		}
		r.Bridge = l.Attrs().Name
		if _, err := fmt.Sscanf(r.Bridge, bridgePattern, &r.Index); err != nil {
			return nil, fmt.Errorf("the link %s has the mark of a sandbox's bridge, but not its name", r.Bridge)
		}
	}
	if r.Index < 0 {
		return nil, nil
	}
	names, err := os.ReadDir(netnsFolder)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, n := range names {
		role, number, ok := parseNetNS(r.Name, n.Name())
		if ok {
			r.Hosts = append(r.Hosts, r.planHost(role, number))
		}
	}
	return &r, nil
}

// tearDown needs the sandbox's lock. Files go last: as long as there is a record, it can be repeated.
func (s *Sandbox) tearDown(ctx context.Context) error {
	if s.rec == nil {
		return removeFiles(s.dir)
	}
	other, err := claimedElsewhere(s.dir)
	if err != nil {
		return err
	}
	if other == "" {
		if err := s.removeFromKernel(ctx); err != nil {
			return fmt.Errorf("removing sandbox %s: %w; try again: holt down --name %s", s.rec.Name, err, s.rec.Name)
		}
	}
	s.joinAll()
	if err := s.admin.withdraw(); err != nil {
		return err
	}
	return removeFiles(s.dir)
}

func (s *Sandbox) removeFromKernel(ctx context.Context) error {
	if err := thawBelow(s.dir); err != nil {
		return err
	}
	var group errgroup.Group
	for _, h := range s.hosts {
		group.Go(func() error { return h.powerOff(ctx) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.lan.unsetForwarding(); err != nil {
		return err
	}
	if err := s.groups.remove(ctx, filepath.Join(cgroupTop, s.rec.Name)); err != nil {
		return err
	}
	s.groups.removeTop()
	// The claim goes last.
	return s.lan.removeBridge()
}

// removeFiles removes the sandbox's folder, its record last, and the folders above that are empty then.
func removeFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == recordFile {
			continue
		}
		if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(filepath.Join(dir, recordFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Remove(dir); err != nil {
		return err
	}
	root := filepath.Dir(dir)
	if err := unix.Rmdir(root); err == nil && root == defaultRoot {
		_ = unix.Rmdir(filepath.Dir(root))
	}
	return nil
}
