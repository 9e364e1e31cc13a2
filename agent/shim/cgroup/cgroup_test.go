package cgroup_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/holt-project/holt/agent/shim/cgroup"
)

// TestMain lets the test's program join a group and stay there, as a child.
func TestMain(m *testing.M) {
	if path := os.Getenv("JOIN_CGROUP"); path != "" {
		joinAndWait(path)
	}
	os.Exit(m.Run())
}

func joinAndWait(path string) {
	g, err := cgroup.Open(path)
	if err == nil {
		err = g.Join()
	}
	fmt.Println(err)
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the test ends
	os.Exit(0)
}

func group(t *testing.T) *cgroup.Group {
	t.Helper()
	g, err := cgroup.Open(fmt.Sprintf("/holt-cgroup-test-%d-%d", os.Getpid(), time.Now().UnixNano()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Remove(timeout(t)); err != nil {
			t.Error(err)
		}
	})
	return g
}

func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// member starts a process in the group.
func member(t *testing.T, g *cgroup.Group) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "JOIN_CGROUP="+g.Path())
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	var said string
	if _, err := fmt.Fscanln(out, &said); err != nil || said != "<nil>" {
		t.Fatalf("join: %q, %v", said, err)
	}
	return cmd
}

func TestKillFindsEveryProcessBelow(t *testing.T) {
	g := group(t)
	child := g.Child("child")
	a, b := member(t, g.Child("other")), member(t, child)
	pids, err := g.Processes()
	if err != nil || !slices.Contains(pids, a.Process.Pid) || !slices.Contains(pids, b.Process.Pid) || len(pids) != 2 {
		t.Fatalf("%v, %v; want %d and %d", pids, err, a.Process.Pid, b.Process.Pid)
	}
	if err := child.Kill(timeout(t)); err != nil {
		t.Fatal(err)
	}
	if pids, err := g.Processes(); err != nil || len(pids) != 1 {
		t.Errorf("after the child's death: %v, %v", pids, err)
	}
	for range 2 {
		if err := g.Kill(timeout(t)); err != nil {
			t.Fatal(err)
		}
		if err := g.Remove(timeout(t)); err != nil {
			t.Fatal(err)
		}
	}
	if dirs, _ := filepath.Glob("/sys/fs/cgroup/*" + g.Path()); len(dirs) != 0 {
		t.Errorf("left: %v", dirs)
	}
}

// A frozen process of v1 does not die before it is thawed.
func TestKillEndsTheFrozen(t *testing.T) {
	g := group(t)
	member(t, g)
	frozen := false
	for path, value := range map[string]string{
		"/sys/fs/cgroup/freezer" + g.Path() + "/freezer.state": "FROZEN",
		"/sys/fs/cgroup" + g.Path() + "/cgroup.freeze":         "1",
	} {
		if _, err := os.Stat(path); err == nil {
			if err := os.WriteFile(path, []byte(value), 0); err != nil {
				t.Fatal(err)
			}
			frozen = true
		}
	}
	if !frozen {
		t.Fatal("no freezer found")
	}
	if err := g.Kill(timeout(t)); err != nil {
		t.Error(err)
	}
}

func TestAGroupThatIsNotThere(t *testing.T) {
	g := group(t)
	if pids, err := g.Processes(); err != nil || len(pids) != 0 {
		t.Errorf("processes: %v, %v", pids, err)
	}
	if err := g.Kill(timeout(t)); err != nil {
		t.Error(err)
	}
	if err := g.Remove(timeout(t)); err != nil {
		t.Error(err)
	}
	if kills, err := g.OOMKills(); err != nil || kills != 0 {
		t.Errorf("kills: %d, %v", kills, err)
	}
}

func TestRemoveRefusesAGroupInUse(t *testing.T) {
	g := group(t)
	member(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Remove(ctx); err == nil {
		t.Error("removed a group with a process in it")
	}
	if err := g.Kill(timeout(t)); err != nil {
		t.Fatal(err)
	}
}

func TestDangerousPathsAreRefused(t *testing.T) {
	for _, path := range []string{"", "/", "relative", "/a/../..", "/a/", "//a", "/a/./b"} {
		if _, err := cgroup.Open(path); err == nil {
			t.Errorf("%q was accepted", path)
		}
	}
}
