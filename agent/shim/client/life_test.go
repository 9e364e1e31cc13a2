package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/client"
	"github.com/holt-project/holt/agent/shim/protocol"
)

func TestAnAgentFindsTheSameContainersAgain(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "sleep")
	p.run(c)
	before, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	again, err := client.Attach(timeout(t), p.launch.Dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	started, err := client.Start(timeout(t), p.launch, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*client.Shim{again, started} {
		after, err := s.State(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Error(diff)
		}
	}
	recorded, err := client.Recorded(p.launch.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before.Containers, recorded); diff != "" {
		t.Errorf("the disk knows otherwise: %s", diff)
	}
	stranger := p.launch
	stranger.Pod.UID = "another"
	if _, err := client.Start(timeout(t), stranger, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("two pods got the same folder")
	}
}

func TestAnExitIsOnTheDiskWhenItIsTold(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	told := p.runToEnd(p.container("web", "say", "5"))
	recorded, err := client.Recorded(p.launch.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]protocol.ContainerStatus{told}, recorded); diff != "" {
		t.Error(diff)
	}
}

func TestAKilledShimTakesItsContainersAlong(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.run(p.container("root", "stubborn"))
	p.runToEnd(p.container("done", "say", "4"))
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	states, err := p.Watch(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(state.ShimPID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for range states { // the watch tells the death by its end
	}
	pid := state.Containers[0].PID
	await(t, "the container's death, by the kernel alone", func() bool { return !alive(pid) })
	if _, err := client.Attach(timeout(t), p.launch.Dir, nil); !errors.Is(err, client.ErrGone) {
		t.Fatalf("attach to the dead: %v", err)
	}
	recorded, err := client.Recorded(p.launch.Dir)
	if err != nil || len(recorded) != 2 || recorded[0].ExitCode != 4 || recorded[1].Status != protocol.Running {
		t.Errorf("recorded %+v, %v", recorded, err)
	}
	for range 2 {
		if err := client.Cleanup(timeout(t), p.launch.Dir); err != nil {
			t.Fatal(err)
		}
	}
	p.wantNothingLeft(state.ShimPID, pid)
	p.start() // the folder can be used again
	if got := p.runToEnd(p.container("web", "say", "0")); got.ExitCode != 0 {
		t.Errorf("in the new shim: %+v", got)
	}
}

func TestCleanupFindsWhatTheKernelSpared(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "other-user")
	p.run(c)
	p.waitLine(c, "stdout F ready")
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(state.ShimPID, unix.SIGSTOP); err != nil { // hangs, rather than dies
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(timeout(t))
	cancel()
	if _, err := client.Attach(ctx, p.launch.Dir, nil); err == nil || errors.Is(err, client.ErrGone) {
		t.Errorf("attach to the hanging: %v", err)
	}
	if err := client.Cleanup(timeout(t), p.launch.Dir); err != nil {
		t.Fatal(err)
	}
	p.wantNothingLeft(state.ShimPID, state.Containers[0].PID)
}

func TestShutdownLeavesNothing(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.run(p.container("running", "stubborn"))
	p.runToEnd(p.container("exited", "say", "0"))
	if err := p.Create(timeout(t), p.container("created", "say", "0")); err != nil {
		t.Fatal(err)
	}
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{state.ShimPID}
	for _, c := range state.Containers {
		pids = append(pids, c.PID)
	}
	for range 2 {
		if err := p.Shutdown(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
	p.wantNothingLeft(pids...)
	if err := p.Signal(timeout(t), "running", 9); !errors.Is(err, client.ErrGone) {
		t.Errorf("an operation afterwards: %v", err)
	}
}

func TestAFailedStartSaysWhyAndLeavesNothing(t *testing.T) {
	t.Parallel()
	p := preparePod(t, func(pod *protocol.Pod) {
		pod.Sysctls = map[string]string{"kernel.core_pattern": "|/evil"}
	})
	_, err := client.Start(timeout(t), p.launch, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "kernel.core_pattern") {
		t.Fatalf("got %v", err)
	}
	p.wantNothingLeft()
	p.launch.Binary = "/nonexistent/holt-shim"
	if _, err := client.Start(timeout(t), p.launch, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("started without a program")
	}
	p.launch.Pod.CgroupParent = "/"
	if _, err := client.Start(timeout(t), p.launch, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("accepted the root cgroup")
	}
}

func TestGarbageOnTheSocketIsRefused(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	info, err := os.Stat(filepath.Join(p.launch.Dir, protocol.SocketName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v; want mode 0600", info.Mode(), err)
	}
	for name, garbage := range map[string]string{
		"no json":       "hello\n",
		"wrong type":    `{"op":7}` + "\n",
		"unknown op":    `{"op":"fly"}` + "\n",
		"no container":  `{"op":"create"}` + "\n",
		"a huge one":    strings.Repeat("x", protocol.MaxMessage+1),
		"nul bytes":     "\x00\x00\n",
		"deeply nested": strings.Repeat("[", 100_000) + "\n",
	} {
		said := p.talk(garbage)
		if !strings.Contains(said, `"code":"invalid"`) {
			t.Errorf("%s: the shim said %q", name, said)
		}
	}
	p.talk("") // closed without a word
	big := p.container("web", "say", "0")
	big.Spec.Process.Env = []string{"A=" + strings.Repeat("x", protocol.MaxMessage)}
	var coded *protocol.Error
	if err := p.Create(timeout(t), big); !errors.As(err, &coded) || coded.Code != protocol.CodeInvalid {
		t.Errorf("a huge container: %v", err)
	}
	if got := p.runToEnd(p.container("web", "say", "0")); got.ExitCode != 0 {
		t.Errorf("afterwards: %+v", got)
	}
}

// talk sends bytes and returns all that comes back.
func (p *pod) talk(bytes string) string {
	p.t.Helper()
	var conn *net.UnixConn
	err := protocol.SocketAddress(p.launch.Dir, func(a *net.UnixAddr) (err error) {
		conn, err = net.DialUnix("unix", nil, a)
		return err
	})
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, bytes) // the shim may have closed before it read all
	_ = conn.CloseWrite()
	said, _ := io.ReadAll(conn)
	return string(said)
}

func TestTheShimIsSmall(t *testing.T) {
	p := newPod(t)
	p.run(p.container("web", "sleep"))
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", state.ShimPID))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		var kib int
		if n, _ := fmt.Sscanf(line, "Pss: %d kB", &kib); n == 1 && kib > 32<<10 {
			t.Errorf("the shim takes %d KiB (Pss)", kib)
		}
		if strings.HasPrefix(line, "Rss:") || strings.HasPrefix(line, "Pss:") || strings.HasPrefix(line, "Pss_Anon:") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// moments at which to strike, from the first instruction to long after.
var moments = []time.Duration{0, 1, 3, 6, 10, 15, 20, 30, 45, 60, 90}

func TestAnAbandonedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, ms := range moments {
		p := preparePod(t)
		ctx, cancel := context.WithTimeout(context.Background(), ms*time.Millisecond)
		_, err := client.Start(ctx, p.launch, nil)
		cancel()
		if err == nil { // it was in time
			continue
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("given up after %d ms: %v", ms, err)
		}
		p.wantNothingLeft()
		p.start() // and it can be repeated
	}
}

func TestAShimKilledAtAnyMomentLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, ms := range moments {
		p := newPod(t)
		state, err := p.State(timeout(t))
		if err != nil {
			t.Fatal(err)
		}
		kill := time.AfterFunc(ms*time.Millisecond, func() { _ = unix.Kill(state.ShimPID, unix.SIGKILL) })
		for err == nil { // until the shim dies
			c := p.container("web", "stubborn")
			if err = p.Create(timeout(t), c); err == nil {
				err = p.Shim.Start(timeout(t), c.ID)
			}
			if err == nil {
				err = p.Signal(timeout(t), c.ID, int(unix.SIGKILL))
			}
			if err == nil {
				if err = p.Remove(timeout(t), c.ID); isState(err) { // not dead yet
					err = nil
				}
			}
		}
		kill.Stop()
		group := p.processes()
		if err := client.Cleanup(timeout(t), p.launch.Dir); err != nil {
			t.Fatal(err)
		}
		p.wantNothingLeft(append(group, state.ShimPID)...)
	}
}

func isState(err error) bool {
	var coded *protocol.Error
	return errors.As(err, &coded) && coded.Code == protocol.CodeState
}

func TestSIGTERMToTheShimEndsThePodInOrder(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.run(p.container("web", "stubborn"))
	state, err := p.State(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	states, err := p.Watch(timeout(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, sig := range []unix.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM} {
		if err := unix.Kill(state.ShimPID, sig); err != nil {
			t.Fatal(err)
		}
	}
	for range states { // until the shim has ended
	}
	await(t, "the shim's end", func() bool { return !alive(state.ShimPID) })
	if err := p.Shutdown(timeout(t)); err != nil { // also after its end
		t.Fatal(err)
	}
	p.wantNothingLeft(state.Containers[0].PID)
}
