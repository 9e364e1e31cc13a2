package client_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/profile"
	"github.com/holt-project/holt/agent/shim/protocol"
)

func rlimit(name string) []specs.POSIXRlimit {
	return []specs.POSIXRlimit{{Type: name, Hard: 1, Soft: 1}}
}

func TestContainersShareThePodsNamespaces(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	one, two := p.container("one", "namespaces"), p.container("two", "namespaces")
	for _, c := range []protocol.Container{one, two} { // both live, so that no number is used twice
		if err := p.Create(timeout(t), c); err != nil {
			t.Fatal(err)
		}
	}
	p.runToEnd(one)
	p.runToEnd(two)
	a, b := p.lines(one), p.lines(two)
	if len(a) != 6 || len(b) != 6 {
		t.Fatalf("got %q and %q", a, b)
	}
	if diff := cmp.Diff(a[:3], b[:3]); diff != "" {
		t.Errorf("net, ipc and uts are not shared: %s", diff)
	}
	if a[3] == b[3] || a[4] == b[4] {
		t.Errorf("pid or mnt is shared: %v, %v", a, b)
	}
	if a[5] != "stdout F web-0" {
		t.Errorf("hostname: %q", a[5])
	}
	for i, name := range []string{"net", "ipc", "uts"} {
		host, _ := os.Readlink("/proc/self/ns/" + name)
		if a[i] == "stdout F "+host {
			t.Errorf("%s is the host's", name)
		}
		var pin unix.Stat_t
		if err := unix.Stat(p.NamespacePath(name), &pin); err != nil {
			t.Fatal(err)
		}
		if want := inode(a[i]); pin.Ino != want {
			t.Errorf("%s is pinned as %d, the containers have %d", name, pin.Ino, want)
		}
	}
	loop := p.container("loop", "loopback")
	p.runToEnd(loop)
	if diff := cmp.Diff([]string{"stdout F connected"}, p.lines(loop)); diff != "" {
		t.Error(diff)
	}
}

// inode reads the number out of "stdout F net:[4026531840]".
func inode(line string) uint64 {
	var n uint64
	_, line, _ = strings.Cut(line, "[")
	for _, r := range strings.TrimSuffix(line, "]") {
		n = n*10 + uint64(r-'0')
	}
	return n
}

func TestHostNamespacesWhenAskedFor(t *testing.T) {
	t.Parallel()
	p := newPod(t, func(pod *protocol.Pod) { pod.HostNetwork, pod.HostIPC, pod.HostPID = true, true, true })
	c := p.container("web", "namespaces")
	p.runToEnd(c)
	lines := p.lines(c)
	for i, name := range []string{"net", "ipc", "uts", "pid"} {
		host, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if shared := lines[i] == "stdout F "+host; shared != (name != "uts") {
			t.Errorf("%s: shared with the host is %v", name, shared)
		}
	}
}

func TestNoProcessOfAContainerSurvivesItsFirst(t *testing.T) {
	t.Parallel()
	for _, hostPID := range []bool{false, true} {
		p := newPod(t, func(pod *protocol.Pod) { pod.HostPID = hostPID })
		c := p.container("web", "orphan")
		if ended := p.runToEnd(c); ended.ExitCode != 0 || ended.Error != "" {
			t.Errorf("hostPID %v: %+v", hostPID, ended)
		}
		if pids := p.processes(); len(pids) != 1 {
			t.Errorf("hostPID %v: processes %v, want the shim alone", hostPID, pids)
		}
		shim := p.processes()[0]
		await(t, "the shim to collect the dead", func() bool { return len(children(t, shim)) == 0 })
	}
}

// children of a process, dead ones that nobody has collected included.
func children(t *testing.T, pid int) (all []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("children of %d: %v, %v", pid, files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		all = append(all, strings.Fields(string(data))...)
	}
	return all
}

func TestAShimDoesNotGrow(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	open := func() int {
		state, err := p.State(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", state.ShimPID))
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	cycle := func() {
		p.runToEnd(p.container("web", "say", "0"))
		bad := p.container("bad", "say", "0")
		bad.Spec.Process.Args = []string{"/nope"}
		if p.Create(timeout(t), bad) == nil {
			t.Error("a bad container was created")
		}
		if err := p.Remove(timeout(t), "web"); err != nil {
			t.Fatal(err)
		}
	}
	cycle()
	before := open()
	for range 8 {
		cycle()
	}
	await(t, "descriptors to be closed", func() bool { return open() <= before })
}

func TestWantOfMemoryIsTold(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "eat")
	limit := int64(32 << 20)
	c.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	ended := p.runToEnd(c)
	if !ended.OOMKilled || ended.Signal != 9 {
		t.Errorf("ended as %+v, want killed for want of memory", ended)
	}
}

func TestWantOfMemoryIsToldWhileTheContainerLives(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "feed")
	limit := int64(32 << 20)
	c.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit}
	p.run(c)
	got := p.waitFor("web", func(s protocol.ContainerStatus) bool { return s.OOMKilled })
	if got.Status != protocol.Running {
		t.Errorf("told only with the status %s", got.Status)
	}
}

func TestLimitsShowInTheCgroup(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "sleep")
	limit, pids := int64(64<<20), int64(50)
	c.Spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
	c.Spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
	p.run(c)
	if got := p.cgroupFile("web", "memory", "memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory limit is %s", got)
	}
	if got := p.cgroupFile("web", "pids", "pids.max", "pids.max"); got != "50" {
		t.Errorf("pids limit is %s", got)
	}
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{state.ShimPID, state.Containers[0].PID} {
		if !slices.Contains(p.processes(), pid) {
			t.Errorf("process %d is not below the pod's cgroup", pid)
		}
	}
}

func TestNothingLeaksIntoAContainer(t *testing.T) {
	// Not parallel: a descriptor without close-on-exec would reach every shim
	// that is started meanwhile.
	fd, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	p := newPod(t)
	c := p.container("web", "fds")
	p.runToEnd(c)
	for _, line := range p.lines(c) {
		words := strings.Fields(line) // stdout F NUMBER TARGET
		own := strings.HasPrefix(words[3], "/proc/") || strings.HasPrefix(words[3], "anon_inode:")
		if words[2] > "2" && !own || len(words[2]) > 1 {
			t.Errorf("descriptor %s is open: %s", words[2], words[3])
		}
	}
	umask := p.container("umask", "umask")
	p.runToEnd(umask)
	if diff := cmp.Diff([]string{"stdout F 0022"}, p.lines(umask)); diff != "" {
		t.Error(diff)
	}
}

// The first process of a container begins as our own program. Were it the file
// of the shim, the container could write to it through /proc (CVE-2019-5736).
func TestTheShimsProgramIsOutOfAContainersReach(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "say", "0")
	c.Spec.Process.Args = []string{"/proc/self/exe", "version"} // the classic trick: run it as the command
	if err := p.Create(timeout(t), c); err != nil {
		t.Fatal(err)
	}
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	inside, err := os.Stat(fmt.Sprintf("/proc/%d/exe", state.Containers[0].PID))
	if err != nil {
		t.Fatal(err)
	}
	outside, err := os.Stat(fmt.Sprintf("/proc/%d/exe", state.ShimPID))
	if err != nil {
		t.Fatal(err)
	}
	if os.SameFile(inside, outside) {
		t.Error("the container's first process runs from the shim's own file")
	}
	if err := p.Shim.Start(timeout(t), "web"); err != nil {
		t.Fatal(err)
	}
	p.waitFor("web", func(s protocol.ContainerStatus) bool { return s.Status == protocol.Exited })
	if diff := cmp.Diff([]string{"stdout F " + protocol.Version}, p.lines(c)); diff != "" {
		t.Errorf("the trick did not even run: %s", diff)
	}
}

func TestSeccompProfileIsApplied(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	caps := []string{"CAP_CHOWN"}
	confined := p.container("confined", "say", "0")
	confined.Spec.Linux.Seccomp = profile.DefaultSeccomp(caps)
	if got := p.runToEnd(confined); got.ExitCode != 0 {
		t.Errorf("an ordinary program under the profile: %+v, %q", got, p.lines(confined))
	}
	// A capability that the profile was not told of: only seccomp can refuse.
	boot := p.container("boot", "reboot")
	all := []string{"CAP_SYS_BOOT"}
	boot.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
	boot.Spec.Linux.Seccomp = profile.DefaultSeccomp(caps)
	p.runToEnd(boot)
	if diff := cmp.Diff([]string{"stdout F operation not permitted"}, p.lines(boot)); diff != "" {
		t.Error(diff)
	}
}
