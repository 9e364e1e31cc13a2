package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"github.com/opencontainers/runtime-spec/specs-go"
	"go.uber.org/goleak"

	"github.com/holt-project/holt/agent/shim/cgroup"
	"github.com/holt-project/holt/agent/shim/client"
	"github.com/holt-project/holt/agent/shim/protocol"
)

// programs built once for all tests.
var shimBinary, insideBinary string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "holt-shim-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := buildPrograms(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// buildPrograms builds what runs in containers and, unless HOLT_SHIM names one,
// the shim.
func buildPrograms(dir string) error {
	insideBinary = filepath.Join(dir, "inside")
	if err := build("CGO_ENABLED=0", "-o", insideBinary, "./testdata/inside"); err != nil {
		return err
	}
	if shimBinary = os.Getenv("HOLT_SHIM"); shimBinary != "" {
		return nil
	}
	shimBinary = filepath.Join(dir, "holt-shim")
	return build("CGO_ENABLED=1", "-tags", "seccomp netgo osusergo", "-ldflags", "-s -w -extldflags -static",
		"-o", shimBinary, "github.com/holt-project/holt/agent/shim")
}

func build(env string, args ...string) error {
	cmd := exec.Command("go", append([]string{"build"}, args...)...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

var podNumber atomic.Int64

// pod is one pod with its shim, gone after the test.
type pod struct {
	*client.Shim
	t      *testing.T
	launch client.Launch
	rootfs string
}

// timeout for anything that should just work, on a busy machine too.
func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newPod(t *testing.T, change ...func(*protocol.Pod)) *pod {
	t.Helper()
	p := preparePod(t, change...)
	p.start()
	return p
}

// preparePod makes everything but the shim.
func preparePod(t *testing.T, change ...func(*protocol.Pod)) *pod {
	t.Helper()
	uid := fmt.Sprintf("uid-%d-%d", os.Getpid(), podNumber.Add(1))
	p := &pod{t: t, rootfs: filepath.Join(t.TempDir(), "rootfs")}
	p.launch = client.Launch{
		Binary: shimBinary,
		// Longer than a unix address may be.
		Dir: filepath.Join(t.TempDir(), strings.Repeat("long", 25), "run"),
		Pod: protocol.Pod{
			UID: uid, Namespace: "default", Name: "web",
			Hostname: "web-0", CgroupParent: "/holt-shim-test-" + uid,
		},
	}
	for _, f := range change {
		f(&p.launch.Pod)
	}
	for _, dir := range []string{"proc", "dev", "tmp"} {
		if err := os.MkdirAll(filepath.Join(p.rootfs, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(insideBinary, filepath.Join(p.rootfs, "inside")); err != nil {
		data, err := os.ReadFile(insideBinary)
		if err == nil {
			err = os.WriteFile(filepath.Join(p.rootfs, "inside"), data, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := client.Cleanup(timeout(t), p.launch.Dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(p.launch.Dir, protocol.LogFile))
			t.Logf("shim's log:\n%s", log)
		}
	})
	return p
}

func (p *pod) start() {
	p.t.Helper()
	s, err := client.Start(timeout(p.t), p.launch, slog.New(slog.DiscardHandler))
	if err != nil {
		p.t.Fatal(err)
	}
	p.Shim = s
}

// container describes a container that runs inside with the arguments.
func (p *pod) container(id string, args ...string) protocol.Container {
	caps := []string{"CAP_SETUID", "CAP_SETGID", "CAP_KILL"}
	return protocol.Container{
		ID:      id,
		LogPath: filepath.Join(p.launch.Dir, "..", "logs", id, "0.log"),
		Spec: &specs.Spec{
			Version: specs.Version,
			Root:    &specs.Root{Path: p.rootfs},
			Process: &specs.Process{
				Args: append([]string{"/inside"}, args...), Cwd: "/", Env: []string{"PATH=/"},
				NoNewPrivileges: true,
				Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
			},
			Mounts: []specs.Mount{
				{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
				{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755", "size=64k"}},
			},
			Linux: &specs.Linux{
				MaskedPaths:   []string{"/proc/kcore"},
				ReadonlyPaths: []string{"/proc/sys"},
				Resources:     &specs.LinuxResources{},
			},
		},
	}
}

// run creates and starts a container.
func (p *pod) run(c protocol.Container) {
	p.t.Helper()
	if err := p.Create(timeout(p.t), c); err != nil {
		p.t.Fatal(err)
	}
	if err := p.Shim.Start(timeout(p.t), c.ID); err != nil {
		p.t.Fatal(err)
	}
}

// runToEnd runs a container and returns how it ended.
func (p *pod) runToEnd(c protocol.Container) protocol.ContainerStatus {
	p.t.Helper()
	p.run(c)
	return p.waitFor(c.ID, func(s protocol.ContainerStatus) bool { return s.Status == protocol.Exited })
}

// waitFor watches until the container is as wanted.
func (p *pod) waitFor(id string, wanted func(protocol.ContainerStatus) bool) protocol.ContainerStatus {
	p.t.Helper()
	ctx, cancel := context.WithCancel(timeout(p.t))
	defer cancel()
	states, err := p.Watch(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	var last protocol.State
	for last = range states {
		for _, c := range last.Containers {
			if c.ID == id && wanted(c) {
				cancel()
				for range states { // until the watch has ended
				}
				return c
			}
		}
	}
	p.t.Fatalf("container %s did not get there; last state: %+v", id, last)
	return protocol.ContainerStatus{}
}

// lines of a container's log, without their times.
func (p *pod) lines(c protocol.Container) []string {
	p.t.Helper()
	data, err := os.ReadFile(c.LogPath)
	if err != nil {
		p.t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(data)) {
		when, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if _, err := time.Parse(time.RFC3339Nano, when); err != nil {
			p.t.Errorf("line %q: %v", line, err)
		}
		out = append(out, rest)
	}
	return out
}

// waitLine waits until the log has a line.
func (p *pod) waitLine(c protocol.Container, want string) {
	p.t.Helper()
	await(p.t, fmt.Sprintf("%q in the log", want), func() bool {
		return slices.Contains(p.lines(c), want)
	})
}

// await polls for what no event tells.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx := timeout(t)
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// wantNothingLeft checks that no process, cgroup or mount of the pod is left.
func (p *pod) wantNothingLeft(pids ...int) {
	p.t.Helper()
	for _, pid := range pids {
		if alive(pid) {
			p.t.Errorf("process %d lives", pid)
		}
	}
	if serving := p.serving(); len(serving) > 0 {
		p.t.Errorf("shims live: %v", serving)
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*" + p.launch.Pod.CgroupParent)
	if err != nil || len(dirs) > 0 {
		p.t.Errorf("cgroups left: %v (%v)", dirs, err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(p.launch.Dir))
	if err != nil || len(mounts) > 0 {
		p.t.Errorf("mounts left: %v (%v)", mounts, err)
	}
	for _, name := range []string{protocol.SocketName, protocol.PodFile, protocol.RuntimeIn, protocol.NamespaceIn} {
		if _, err := os.Lstat(filepath.Join(p.launch.Dir, name)); !os.IsNotExist(err) {
			p.t.Errorf("%s is left (%v)", name, err)
		}
	}
}

// serving lists the processes that were started for the pod's folder.
func (p *pod) serving() (found []string) {
	p.t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), p.launch.Dir) {
			found = append(found, file)
		}
	}
	return found
}

// alive tells whether a process runs; a zombie that nobody has collected does not.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(data), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// cgroupFile reads a file of a container's group, by its name on v1 or on v2.
func (p *pod) cgroupFile(id, controller, v1, v2 string) string {
	p.t.Helper()
	for _, path := range []string{
		filepath.Join("/sys/fs/cgroup", controller, p.launch.Pod.CgroupParent, id, v1),
		filepath.Join("/sys/fs/cgroup", p.launch.Pod.CgroupParent, id, v2),
	} {
		if data, err := os.ReadFile(path); err == nil {
			return strings.TrimSpace(string(data))
		}
	}
	p.t.Fatalf("neither %s nor %s in the group of %s", v1, v2, id)
	return ""
}

// processes of the pod's cgroup.
func (p *pod) processes() []int {
	p.t.Helper()
	group, err := cgroup.Open(p.launch.Pod.CgroupParent)
	if err != nil {
		p.t.Fatal(err)
	}
	pids, err := group.Processes()
	if err != nil {
		p.t.Fatal(err)
	}
	return pids
}
