package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/sandbox"
)

// alive is false for a zombie: an orphan's is for the machine's init to reap.
func alive(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && !strings.Contains(string(status), "State:\tZ")
}

func TestKillEndsEverythingOfOneHost(t *testing.T) {
	s := up(t, options())
	agent := host(t, s, "agent-1")
	pod := podPID(t, s, "agent-1")
	folder := filepath.Join(s.Dir(), "hosts", "agent-1")

	// A folder of the machine that a pod mounts must survive what happens to the mount.
	machine := t.TempDir()
	must(t, os.WriteFile(filepath.Join(machine, "file"), nil, 0o600))
	bind := filepath.Join(folder, "run", "pod", "hostpath")
	must(t, os.Mkdir(bind, 0o700))
	must(t, unix.Mount(machine, bind, "", unix.MS_BIND, ""))

	must(t, s.Kill(t.Context(), "agent-1"))
	for name, pid := range map[string]int{"agent": agent.PID, "pod": pod} {
		if alive(pid) {
			t.Errorf("the %s's process %d is still there", name, pid)
		}
	}
	inv := inventory(t)
	for _, list := range [][]string{inv.Mounts, inv.Cgroups, inv.Namespaces} {
		for _, line := range list {
			if strings.Contains(line, s.Name()+"/agent-1") || strings.Contains(line, folder) || strings.Contains(line, agent.NetNS) {
				t.Errorf("left over: %s", line)
			}
		}
	}
	if entries, err := os.ReadDir(filepath.Join(folder, "run")); err != nil || len(entries) > 0 {
		t.Errorf("the run folder has %v, %v; a power cut empties it", entries, err)
	}
	if _, err := os.Stat(filepath.Join(machine, "file")); err != nil {
		t.Errorf("a file of the machine: %v", err)
	}
	if got := host(t, s, "server-1").State; got != sandbox.StateRunning {
		t.Errorf("another host is %s", got)
	}
	if got := host(t, s, "agent-1"); got.State != sandbox.StateStopped || got.PID != 0 {
		t.Errorf("the killed host is %+v", got)
	}
	must(t, s.Kill(t.Context(), "agent-1"))

	must(t, s.Start(t.Context(), "agent-1"))
	if again := podPID(t, s, "agent-1"); again == pod {
		t.Errorf("the pod has the same process %d", pod)
	}
	again := host(t, s, "agent-1")
	if again.State != sandbox.StateRunning || again.Address != agent.Address || !sameNetNS(t, again.PID, again.NetNS) {
		t.Errorf("the started host is %+v, was %+v", again, agent)
	}
}

func TestStopAndStartLeavePodsAlone(t *testing.T) {
	s := up(t, options())
	pod := podPID(t, s, "agent-1")
	before := host(t, s, "agent-1")
	if err := s.Start(t.Context(), "agent-1"); !errors.Is(err, sandbox.ErrRunning) {
		t.Errorf("starting what runs: %v", err)
	}
	for _, stop := range []func(context.Context, string) error{s.Stop, s.KillProcess} {
		must(t, stop(t.Context(), "agent-1"))
		if got := host(t, s, "agent-1").State; got != sandbox.StateStopped {
			t.Errorf("the agent is %s", got)
		}
		if err := stop(t.Context(), "agent-1"); !errors.Is(err, sandbox.ErrNotRunning) {
			t.Errorf("ending what does not run: %v", err)
		}
		// From another handle, as from another command.
		other, err := sandbox.Load(s.Name())
		must(t, err)
		must(t, other.Start(t.Context(), "agent-1"))
		after := host(t, s, "agent-1")
		if after.State != sandbox.StateRunning || after.PID == before.PID {
			t.Errorf("the started agent is %+v, was %+v", after, before)
		}
		if !alive(pod) || podPID(t, s, "agent-1") != pod {
			t.Errorf("the pod's process %d did not survive", pod)
		}
	}
}

func TestStopSaysThatAHostDoesNotEnd(t *testing.T) {
	o := options()
	o.Env = []string{ignoreTermEnv + "=agent-1"}
	s := up(t, o)
	// The imitation must have got as far as to ignore the signal: its Node is Ready after that.
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	err := s.Stop(ctx, "agent-1")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "kill --process agent-1 --name "+o.Name) {
		t.Errorf("error %v", err)
	}
	must(t, s.KillProcess(t.Context(), "agent-1"))
}

func TestPauseFreezesTheWholeHost(t *testing.T) {
	s := up(t, options())
	c := dialEcho(t, host(t, s, "server-1"))
	must(t, s.Pause(t.Context(), "server-1"))
	must(t, s.Pause(t.Context(), "server-1"))
	if err := echo(c, 500*time.Millisecond); !hangs(err) {
		t.Errorf("a connection to a paused host: %v, want it to hang", err)
	}
	if got := host(t, s, "server-1"); got.State != sandbox.StatePaused || got.PID == 0 {
		t.Errorf("the host is %+v", got)
	}
	for name, verb := range map[string]func(context.Context, string) error{"stop": s.Stop, "start": s.Start, "kill --process": s.KillProcess} {
		if err := verb(t.Context(), "server-1"); !errors.Is(err, sandbox.ErrPaused) {
			t.Errorf("%s on a paused host: %v", name, err)
		}
	}
	must(t, s.Resume(t.Context(), "server-1"))
	must(t, s.Resume(t.Context(), "server-1"))
	if err := readByte(c, 30*time.Second); err != nil {
		t.Errorf("after resume: %v", err)
	}

	pod := podPID(t, s, "agent-1")
	must(t, s.Pause(t.Context(), "agent-1"))
	if !isFrozen(t, pod) {
		t.Error("the pod of a paused host runs")
	}
	must(t, s.Kill(t.Context(), "agent-1"))
	if alive(pod) {
		t.Error("the pod of a host that was killed while paused is there")
	}
}

// isFrozen asks the kernel where the process waits: in the freezer of version 1 or of version 2.
func isFrozen(t *testing.T, pid int) bool {
	t.Helper()
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	must(t, err)
	for line := range strings.Lines(string(groups)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if fields[1] == "freezer" {
			if state, err := os.ReadFile("/sys/fs/cgroup/freezer" + fields[2] + "/freezer.state"); err == nil {
				return strings.TrimSpace(string(state)) == "FROZEN"
			}
		}
		if fields[1] == "" {
			if events, err := os.ReadFile("/sys/fs/cgroup" + fields[2] + "/cgroup.events"); err == nil {
				return strings.Contains(string(events), "frozen 1")
			}
		}
	}
	return false
}

func TestVerbsOnDifferentHostsRunAtTheSameTime(t *testing.T) {
	o := options()
	o.Servers = 3
	s := up(t, o)
	for _, verb := range []func(context.Context, string) error{s.Kill, s.Start} {
		var group errgroup.Group
		for _, name := range []string{"server-1", "server-2", "server-3", "agent-1"} {
			group.Go(func() error { return verb(t.Context(), name) })
		}
		must(t, group.Wait())
	}
	for _, name := range []string{"server-1", "server-2", "server-3"} {
		dialEcho(t, host(t, s, name))
	}
}

func TestVerbsNameWhatIsUnknown(t *testing.T) {
	s := up(t, options())
	err := s.Kill(t.Context(), "agent-9")
	if !errors.Is(err, sandbox.ErrUnknownHost) || !strings.Contains(err.Error(), "server-1, agent-1") {
		t.Errorf("error %v", err)
	}
	gone, err := sandbox.Load(s.Name())
	must(t, err)
	must(t, s.Down(t.Context()))
	if err := gone.Cut(t.Context(), "agent-1"); !errors.Is(err, sandbox.ErrNotFound) {
		t.Errorf("a verb on a removed sandbox: %v", err)
	}
	if _, err := sandbox.Load(s.Name()); !errors.Is(err, sandbox.ErrNotFound) {
		t.Errorf("loading a removed sandbox: %v", err)
	}
}

// TestPureCgroupV2 repeats the tests that depend on cgroups where version 2 is all there is.
func TestPureCgroupV2(t *testing.T) {
	if os.Getenv(pureV2Env) != "" {
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^(TestUpRuns|TestKillEnds|TestStopAndStart|TestPauseFreezes|TestDownRemoves)")
	cmd.Env = append(os.Environ(), pureV2Env+"=1", isolatedEnv+"=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
