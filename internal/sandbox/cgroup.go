package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// cgroupTop is the parent of all sandboxes' cgroups.
const cgroupTop = "holt"

// mainCgroup holds a host's holt process. It is a leaf, because version 2 lets a cgroup have processes or
// controlled children, not both, and the pods' cgroups are its siblings.
const mainCgroup = "main"

// hierarchy is one mounted tree of cgroups.
type hierarchy struct {
	mount   string
	v2      bool
	cpuset  bool // version 1 with this controller: a new cgroup has no CPUs until it is given some
	freezer bool // version 1 with this controller
}

// cgroups are all hierarchies of the machine: several of version 1, one of version 2, or both together.
type cgroups []hierarchy

func findCgroups() (cgroups, error) {
	mounts, err := mountinfo.GetMounts(mountinfo.FSTypeFilter("cgroup", "cgroup2"))
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	var found cgroups
	seen := map[string]bool{}
	for _, m := range mounts {
		device := fmt.Sprintf("%d:%d", m.Major, m.Minor)
		if seen[device] {
			continue
		}
		seen[device] = true
		options := strings.Split(m.VFSOptions, ",")
		found = append(found, hierarchy{
			mount:   m.Mountpoint,
			v2:      m.FSType == "cgroup2",
			cpuset:  m.FSType == "cgroup" && slices.Contains(options, "cpuset"),
			freezer: m.FSType == "cgroup" && slices.Contains(options, "freezer"),
		})
	}
	if _, err := found.freezer(); err != nil {
		return nil, err
	}
	return found, nil
}

// freezer is the hierarchy that can freeze: the controller's of version 1, or else version 2, which always can.
func (c cgroups) freezer() (hierarchy, error) {
	for _, h := range c {
		if h.freezer {
			return h, nil
		}
	}
	for _, h := range c {
		if h.v2 {
			return h, nil
		}
	}
	return hierarchy{}, errors.New("no cgroup freezer is mounted: mount cgroup2 on /sys/fs/cgroup")
}

// make makes a cgroup and its parents in every hierarchy, with all controllers for what is made below it.
func (c cgroups) make(path string) error {
	for _, h := range c {
		dir := h.mount
		for part := range strings.SplitSeq(path, "/") {
			if h.v2 {
				h.delegate(dir)
			}
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("making the cgroup %s: %w", dir, err)
			}
			if h.cpuset {
				if err := inheritCpuset(dir); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// delegate offers every controller to the children of a version 2 cgroup. It is a best effort: a controller can be
// held back by whoever owns the parent, and who needs it reports that with more knowledge than there is here.
func (h hierarchy) delegate(dir string) {
	available, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, name := range strings.Fields(string(available)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+name), 0)
	}
}

func inheritCpuset(dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		own, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			return err
		}
		if strings.TrimSpace(string(own)) != "" {
			continue
		}
		parents, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, file), parents, 0); err != nil {
			return fmt.Errorf("giving the cgroup %s its %s: %w", dir, file, err)
		}
	}
	return nil
}

// enter moves the calling thread, which must be disposable, into path in the hierarchies of version 1. Version 2
// moves only whole processes: there a child is born into the folder that comes back, which is nil without it.
func (c cgroups) enter(path string) (birthplace *os.File, err error) {
	tid := []byte(strconv.Itoa(unix.Gettid()))
	for _, h := range c {
		dir := filepath.Join(h.mount, path)
		if h.v2 {
			birthplace, err = os.Open(dir)
		} else {
			err = os.WriteFile(filepath.Join(dir, "tasks"), tid, 0)
		}
		if err != nil {
			return birthplace, fmt.Errorf("entering the cgroup %s: %w", dir, err)
		}
	}
	return birthplace, nil
}

// pids lists the processes at and below path in any hierarchy, but never the calling one.
func (c cgroups) pids(path string) ([]int, error) {
	seen := map[int]bool{os.Getpid(): true}
	var pids []int
	for _, h := range c {
		dirs, err := h.subtree(path)
		if err != nil {
			return nil, err
		}
		for _, dir := range dirs {
			data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil && !isGone(err) {
				return nil, err
			}
			for _, field := range strings.Fields(string(data)) {
				pid, err := strconv.Atoi(field)
				if err == nil && !seen[pid] {
					seen[pid] = true
					pids = append(pids, pid)
				}
			}
		}
	}
	slices.Sort(pids)
	return pids, nil
}

// subtree lists path's folder and those below it, parents first; none if it is not there.
func (h hierarchy) subtree(path string) ([]string, error) {
	var dirs []string
	err := filepath.WalkDir(filepath.Join(h.mount, path), func(dir string, entry fs.DirEntry, err error) error {
		if isGone(err) {
			return nil
		}
		if err == nil && entry.IsDir() {
			dirs = append(dirs, dir)
		}
		return err
	})
	return dirs, err
}

// isGone also knows the error of reading a file of a cgroup that was removed after the file was opened.
func isGone(err error) bool { return errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) }

// freeze stops every process at and below path; it returns when all are frozen.
func (c cgroups) freeze(ctx context.Context, path string) error {
	h, err := c.freezer()
	if err != nil {
		return err
	}
	dir := filepath.Join(h.mount, path)
	if err := h.writeFrozen(dir, true); err != nil {
		return fmt.Errorf("freezing %s: %w", path, err)
	}
	err = poll(ctx, func() (bool, error) {
		if !h.v2 {
			state, err := os.ReadFile(filepath.Join(dir, "freezer.state"))
			return strings.TrimSpace(string(state)) == "FROZEN", err
		}
		events, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
		return slices.Contains(strings.Split(string(events), "\n"), "frozen 1"), err
	})
	if err != nil {
		return fmt.Errorf("waiting for %s to be frozen: %w", path, err)
	}
	return nil
}

// thaw lets path go on. With deep, so does every cgroup below it that was frozen by itself.
func (c cgroups) thaw(path string, deep bool) error {
	h, err := c.freezer()
	if err != nil {
		return err
	}
	dirs := []string{filepath.Join(h.mount, path)}
	if deep {
		if dirs, err = h.subtree(path); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		if err := h.writeFrozen(dir, false); err != nil && !isGone(err) {
			return fmt.Errorf("thawing %s: %w", path, err)
		}
	}
	return nil
}

func (h hierarchy) writeFrozen(dir string, frozen bool) error {
	file, value := "freezer.state", "THAWED"
	if frozen {
		value = "FROZEN"
	}
	if h.v2 {
		file, value = "cgroup.freeze", "0"
		if frozen {
			value = "1"
		}
	}
	// Without O_CREATE: in a cgroup's folder it turns a cgroup that is gone into a permission error.
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// frozen tells whether path was frozen, and not whether its parent was.
func (c cgroups) frozen(path string) bool {
	h, err := c.freezer()
	if err != nil {
		return false
	}
	file := "freezer.self_freezing"
	if h.v2 {
		file = "cgroup.freeze"
	}
	state, err := os.ReadFile(filepath.Join(h.mount, path, file))
	return err == nil && strings.TrimSpace(string(state)) == "1"
}

// kill ends every process at and below path at one instant: none of them sees another one die.
func (c cgroups) kill(ctx context.Context, path string) error {
	freezing, cancel := context.WithTimeout(ctx, 5*time.Second)
	// A process in an uninterruptible wait cannot be frozen; it is killed all the same.
	_ = c.freeze(freezing, path)
	cancel()
	err := poll(ctx, func() (bool, error) {
		pids, err := c.pids(path)
		if err != nil {
			return false, err
		}
		for _, pid := range pids {
			if err := killMember(pid, path); err != nil {
				return false, fmt.Errorf("killing process %d: %w", pid, err)
			}
		}
		// In version 1 a frozen process dies only when it is thawed: of SIGKILL, before any other instruction.
		return len(pids) == 0, c.thaw(path, true)
	})
	if err != nil {
		return fmt.Errorf("killing all processes of %s: %w", path, err)
	}
	return nil
}

// killMember checks again, once the pid can no longer be reused, that the process belongs to the cgroup.
func killMember(pid int, path string) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer func() { _ = unix.Close(fd) }()
		var groups []byte
		if groups, err = os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err == nil && strings.Contains(string(groups), "/"+path) {
			err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
		}
	}
	if errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// remove removes path and all cgroups below it, which must have no process left.
func (c cgroups) remove(ctx context.Context, path string) error {
	for _, h := range c {
		dirs, err := h.subtree(path)
		if err != nil {
			return err
		}
		for _, dir := range slices.Backward(dirs) {
			// A cgroup stays busy for a moment after its last process was reaped.
			err := poll(ctx, func() (bool, error) {
				err := unix.Rmdir(dir)
				if errors.Is(err, unix.EBUSY) {
					return false, nil
				}
				if errors.Is(err, unix.ENOENT) {
					err = nil
				}
				return true, err
			})
			if err != nil {
				return fmt.Errorf("removing the cgroup %s: %w", dir, err)
			}
		}
	}
	return nil
}

// removeTop removes the parent of all sandboxes' cgroups if it has no child left.
func (c cgroups) removeTop() {
	for _, h := range c {
		_ = unix.Rmdir(filepath.Join(h.mount, cgroupTop))
	}
}
