package client_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/shim/protocol"
)

func TestRunsToItsExitCodeWithACompleteLog(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "say", "3")
	ended := p.runToEnd(c)
	if ended.ExitCode != 3 || ended.Signal != 0 || ended.OOMKilled || ended.Error != "" {
		t.Errorf("ended as %+v, want exit code 3", ended)
	}
	if ended.CreatedAt.IsZero() || ended.StartedAt.Before(ended.CreatedAt) || ended.FinishedAt.Before(ended.StartedAt) {
		t.Errorf("times are out of order: %+v", ended)
	}
	got := map[string]bool{}
	for _, line := range p.lines(c) {
		got[line] = true
	}
	want := map[string]bool{"stdout F to stdout": true, "stderr F to stderr": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLongLinesAreCutAndManyLinesAreKept(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	long := p.container("long", "bytes", "40000")
	p.runToEnd(long)
	want := []string{
		"stdout P " + strings.Repeat("x", 16<<10),
		"stdout P " + strings.Repeat("x", 16<<10),
		"stdout F " + strings.Repeat("x", 40000-32<<10),
	}
	if diff := cmp.Diff(want, p.lines(long)); diff != "" {
		t.Error(diff)
	}
	many := p.container("many", "lines", "20000")
	p.runToEnd(many)
	if got := p.lines(many); len(got) != 20000 || got[19999] != "stdout F 19999" {
		t.Errorf("%d lines, want 20000", len(got))
	}
}

func TestStopsWithSIGTERMThenSIGKILL(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	polite, stubborn := p.container("polite", "sleep"), p.container("stubborn", "stubborn")
	p.run(polite)
	p.run(stubborn)
	p.waitLine(polite, "stdout F ready")
	p.waitLine(stubborn, "stdout F ready")
	for _, id := range []string{"polite", "stubborn"} {
		if err := p.Signal(timeout(t), id, int(unix.SIGTERM)); err != nil {
			t.Fatal(err)
		}
	}
	exited := func(s protocol.ContainerStatus) bool { return s.Status == protocol.Exited }
	if ended := p.waitFor("polite", exited); ended.ExitCode != 7 {
		t.Errorf("polite ended as %+v, want exit code 7", ended)
	}
	p.waitLine(stubborn, "stdout F ignored")
	if err := p.Signal(timeout(t), "stubborn", int(unix.SIGKILL)); err != nil {
		t.Fatal(err)
	}
	if ended := p.waitFor("stubborn", exited); ended.ExitCode != 137 || ended.Signal != 9 {
		t.Errorf("stubborn ended as %+v, want signal 9", ended)
	}
	if err := p.Signal(timeout(t), "stubborn", int(unix.SIGTERM)); err != nil {
		t.Errorf("a signal to the exited: %v", err)
	}
}

func TestEveryOperationCanBeRepeated(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "sleep")
	for range 2 {
		if err := p.Create(timeout(t), c); err != nil {
			t.Fatal(err)
		}
	}
	before, err := p.State(timeout(t))
	if err != nil || len(before.Containers) != 1 || before.Containers[0].Status != protocol.Created {
		t.Fatalf("%+v, %v; want one created container", before, err)
	}
	for range 2 {
		if err := p.Shim.Start(timeout(t), "web"); err != nil {
			t.Fatal(err)
		}
	}
	var refused *protocol.Error
	if err := p.Remove(timeout(t), "web"); !errors.As(err, &refused) || refused.Code != protocol.CodeState {
		t.Errorf("removing a running container: %v", err)
	}
	for range 2 {
		if err := p.Signal(timeout(t), "web", int(unix.SIGKILL)); err != nil {
			t.Fatal(err)
		}
	}
	p.waitFor("web", func(s protocol.ContainerStatus) bool { return s.Status == protocol.Exited })
	for range 2 {
		if err := p.Remove(timeout(t), "web"); err != nil {
			t.Fatal(err)
		}
	}
	if after, err := p.State(timeout(t)); err != nil || len(after.Containers) != 0 {
		t.Errorf("%+v, %v; want none", after, err)
	}
	if got := p.runToEnd(p.container("web", "say", "0")); got.ExitCode != 0 {
		t.Errorf("the ID cannot be used again: %+v", got)
	}
}

func TestFailuresCarryTheRuntimesWordsAndLeaveNothing(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	cases := map[string]struct {
		change func(*protocol.Container)
		code   protocol.Code
		says   string
	}{
		"no such command": {func(c *protocol.Container) { c.Spec.Process.Args = []string{"nope"} },
			protocol.CodeRuntime, `"nope": executable file not found in $PATH`},
		"no such file": {func(c *protocol.Container) { c.Spec.Process.Args = []string{"/bin/nope"} },
			protocol.CodeRuntime, "/bin/nope: no such file or directory"},
		"no rootfs": {func(c *protocol.Container) { c.Spec.Root.Path = "/nonexistent/rootfs" },
			protocol.CodeRuntime, "/nonexistent/rootfs: no such file or directory"},
		"bad mount": {func(c *protocol.Container) {
			c.Spec.Mounts[0].Source, c.Spec.Mounts[0].Type = "/nonexistent", "bind"
			c.Spec.Mounts[0].Options = []string{"bind"}
		}, protocol.CodeRuntime, "/nonexistent"},
		"bad id":         {func(c *protocol.Container) { c.ID = "../x" }, protocol.CodeInvalid, "../x"},
		"shim's group":   {func(c *protocol.Container) { c.ID = "shim" }, protocol.CodeInvalid, "own group"},
		"no spec":        {func(c *protocol.Container) { c.Spec = nil }, protocol.CodeInvalid, "required"},
		"relative log":   {func(c *protocol.Container) { c.LogPath = "x.log" }, protocol.CodeInvalid, "not absolute"},
		"unknown rlimit": {func(c *protocol.Container) { c.Spec.Process.Rlimits = rlimit("RLIMIT_X") }, protocol.CodeRuntime, "RLIMIT_X"},
	}
	for name, test := range cases {
		c := p.container("web", "say", "0")
		test.change(&c)
		err := p.Create(timeout(t), c)
		var coded *protocol.Error
		if !errors.As(err, &coded) || coded.Code != test.code || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: got %v, want code %s and %q", name, err, test.code, test.says)
		}
	}
	state, err := p.State(timeout(t))
	if err != nil || len(state.Containers) != 0 {
		t.Errorf("state after failures: %+v, %v", state, err)
	}
	if pids := p.processes(); len(pids) != 1 || pids[0] != state.ShimPID {
		t.Errorf("processes %v, want the shim %d alone", pids, state.ShimPID)
	}
	if got := p.runToEnd(p.container("web", "say", "0")); got.ExitCode != 0 {
		t.Errorf("a good one after the failures: %+v", got)
	}
	var coded *protocol.Error
	if err := p.Shim.Start(timeout(t), "unknown"); !errors.As(err, &coded) || coded.Code != protocol.CodeNotFound {
		t.Errorf("start of the unknown: %v", err)
	}
	if err := p.Signal(timeout(t), "web", 99); !errors.As(err, &coded) || coded.Code != protocol.CodeInvalid {
		t.Errorf("signal 99: %v", err)
	}
}

func TestACommandThatIsNoProgram(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	if err := os.WriteFile(p.rootfs+"/text", []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := p.container("web", "say", "0")
	c.Spec.Process.Args = []string{"/text"}
	if ended := p.runToEnd(c); ended.ExitCode != 255 {
		t.Errorf("ended as %+v, want exit code 255", ended)
	}
	if log := strings.Join(p.lines(c), "\n"); !strings.Contains(log, "exec format error") {
		t.Errorf("the log does not say why: %q", log)
	}
}

func TestTheLogIsNotWrittenThroughALink(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.container("web", "say", "0")
	target := t.TempDir() + "/target"
	if err := os.WriteFile(target, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := c.LogPath[:strings.LastIndex(c.LogPath, "/")]
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, c.LogPath); err != nil {
		t.Fatal(err)
	}
	if err := p.Create(timeout(t), c); err == nil {
		t.Error("a log that is a link was accepted")
	}
	if got, _ := os.ReadFile(target); string(got) != "mine" {
		t.Errorf("the link's target was written: %q", got)
	}
}

func TestStdinAndTerminal(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	piped := p.container("piped", "echo")
	piped.Stdin = true
	terminal := p.container("terminal", "echo")
	terminal.Stdin, terminal.TTY = true, true
	terminal.Spec.Mounts = append(terminal.Spec.Mounts, specs.Mount{
		Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"},
	})
	closed := p.container("closed", "echo")
	for _, c := range []protocol.Container{piped, terminal, closed} {
		p.run(c)
		if c.Stdin {
			in, err := os.OpenFile(p.StdinPath(c.ID), os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.WriteString("hello\n"); err != nil {
				t.Fatal(err)
			}
			in.Close()
		}
		ended := p.waitFor(c.ID, func(s protocol.ContainerStatus) bool { return s.Status == protocol.Exited })
		if ended.ExitCode != 0 || ended.Error != "" {
			t.Errorf("%s: %+v", c.ID, ended)
		}
	}
	if diff := cmp.Diff([]string{"stdout F got hello"}, p.lines(piped)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"stdout F hello\r", "stdout F got hello\r"}, p.lines(terminal)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"stdout F got "}, p.lines(closed)); diff != "" {
		t.Error(diff)
	}
}
