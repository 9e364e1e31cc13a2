package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is one mounted hierarchy.
type mount struct {
	dir         string
	v2          bool
	controllers []string // v1 only
}

func (m mount) has(controller string) bool { return slices.Contains(m.controllers, controller) }

// Group is one control group, in every hierarchy that is mounted.
type Group struct {
	path   string
	mounts []mount
}

// Open names the group at path, which need not exist yet. The path is absolute
// and clean; the root itself is refused, since Kill on it would end the host.
func Open(path string) (*Group, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
		return nil, fmt.Errorf("cgroup: path %q is not absolute, clean and below the root", path)
	}
	mounts, err := mounted()
	if err != nil {
		return nil, err
	}
	return &Group{path: path, mounts: mounts}, nil
}

// mounted reads the hierarchies from this process's mount table, each once.
func mounted() ([]mount, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []mount
	seen := map[string]bool{} // by device: a hierarchy may be mounted twice
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		m, dev, ok := parseMount(lines.Text())
		if ok && !seen[dev] {
			seen[dev] = true
			out = append(out, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("cgroup: read mountinfo: %w", err)
	}
	if len(out) == 0 {
		return nil, errors.New("cgroup: no hierarchy is mounted; mount cgroup2 on /sys/fs/cgroup")
	}
	return out, nil
}

// parseMount reads one line of mountinfo (proc_pid_mountinfo(5)).
func parseMount(line string) (m mount, dev string, ok bool) {
	head, tail, found := strings.Cut(line, " - ")
	before, after := strings.Fields(head), strings.Fields(tail)
	if !found || len(before) < 6 || len(after) < 3 {
		return mount{}, "", false
	}
	m.dir = before[4]
	switch after[0] {
	case "cgroup2":
		m.v2 = true
	case "cgroup":
		m.controllers = strings.Split(after[2], ",")
	default:
		return mount{}, "", false
	}
	return m, before[2], true
}

// Path is the group's path below each hierarchy's root.
func (g *Group) Path() string { return g.path }

// Child names a group directly below this one.
func (g *Group) Child(name string) *Group {
	return &Group{path: filepath.Join(g.path, name), mounts: g.mounts}
}

// dir is the group's folder in one hierarchy.
func (g *Group) dir(m mount) string { return filepath.Join(m.dir, g.path) }

// dirOf is the folder that holds a controller's files, and whether it is v2.
func (g *Group) dirOf(controller string) (dir string, v2, ok bool) {
	for _, m := range g.mounts {
		if m.has(controller) {
			return g.dir(m), false, true
		}
	}
	for _, m := range g.mounts {
		if m.v2 {
			return g.dir(m), true, true
		}
	}
	return "", false, false
}

// Join makes the group and moves the calling process into it, in every
// hierarchy but cpuset: a fresh v1 cpuset group takes no process before its
// cpus and mems are set, and membership elsewhere is enough to be found.
func (g *Group) Join() error {
	for _, m := range g.mounts {
		if m.has("cpuset") {
			continue
		}
		dir := g.dir(m)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroup: make %s: %w", g.path, err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("cgroup: join %s: %w", g.path, err)
		}
	}
	return nil
}

// Processes lists the processes of the group and of all groups below it, sorted.
func (g *Group) Processes() ([]int, error) {
	var all []int
	err := g.walk(func(_ mount, dir string) error {
		pids, err := readProcs(dir)
		all = append(all, pids...)
		return err
	})
	slices.Sort(all)
	return slices.Compact(all), err
}

// walk calls do for each folder of the group, a parent before its children.
func (g *Group) walk(do func(m mount, dir string) error) error {
	for _, m := range g.mounts {
		err := filepath.WalkDir(g.dir(m), func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return gone(err)
			}
			if !d.IsDir() {
				return nil
			}
			return do(m, path)
		})
		if err != nil {
			return fmt.Errorf("cgroup: %s: %w", g.path, err)
		}
	}
	return nil
}

// gone hides the errors of a group that was removed while it was looked at.
func gone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}

func readProcs(dir string) ([]int, error) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, unix.EOPNOTSUPP) { // a threaded group lists only threads
		data, err = os.ReadFile(filepath.Join(dir, "cgroup.threads"))
	}
	if err != nil {
		return nil, gone(err)
	}
	var pids []int
	for word := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("cgroup.procs: %w", err)
		}
		if pid > 0 { // 0 is a process that this PID namespace cannot see
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
