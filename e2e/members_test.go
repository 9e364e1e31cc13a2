package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/sandbox"
)

// removalBound bounds the removal of a dead server: a minute of silence, and a busy machine.
const removalBound = 3 * time.Minute

// member is a line of holt member list.
type member struct {
	Name, Role string
	Alive      bool
}

// awaitMembers waits until the servers are exactly those, given as "name role alive", in any order of leaders: a leader
// counts as a voter.
func awaitMembers(t *testing.T, c *harness.Cluster, d time.Duration, want ...string) {
	t.Helper()
	must(t, harness.Await(within(t, d), "the servers are "+strings.Join(want, ", "), func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, programs.Holt, "member", "list", "-o", "json", "--kubeconfig", c.Kubeconfig())
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		var l struct{ Members []member }
		if err := json.Unmarshal(out, &l); err != nil {
			return err
		}
		got := map[string]bool{}
		for _, m := range l.Members {
			got[fmt.Sprintf("%s %s %v", m.Name, strings.Replace(m.Role, "leader", "voter", 1), m.Alive)] = true
		}
		for _, w := range want {
			if !got[w] {
				return fmt.Errorf("they are %+v", l.Members)
			}
		}
		if len(got) != len(want) {
			return fmt.Errorf("they are %+v", l.Members)
		}
		return nil
	}))
}

// background runs holt until it ends by itself, or the test does.
func background(t *testing.T, args []string) (ended <-chan error, out *strings.Builder) {
	t.Helper()
	out = &strings.Builder{}
	cmd := exec.CommandContext(t.Context(), programs.Holt, args...)
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	done := make(chan error, 1)
	go func() { done <- cmd.Wait(); close(done) }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		for range done {       //nolint:revive // until it has
		}
	})
	return done, out
}

// TestServersComeAndGo lets a fourth server join, takes the power of one of the first three, and removes one for good.
func TestServersComeAndGo(t *testing.T) {
	c := ownCluster(t, harness.Size{Servers: 3})
	s := newStranger(t, c)
	args := s.server(token(t, c, sandbox.RoleServer))
	ended, out := background(t, args)
	awaitMembers(t, c, bound, "server-1 voter true", "server-2 voter true", "server-3 voter true", "stranger voter true")

	// A dead one is removed, and comes back by itself.
	must(t, c.Kill(within(t, bound), "server-3"))
	awaitMembers(t, c, bound, "server-1 voter true", "server-2 voter true", "server-3 voter false", "stranger voter true")
	awaitMembers(t, c, removalBound, "server-1 voter true", "server-2 voter true", "stranger voter true")
	must(t, c.Start(within(t, bound), "server-3"))
	awaitMembers(t, c, bound, "server-1 voter true", "server-2 voter true", "server-3 voter true", "stranger voter true")

	// One that is removed on purpose ends, and its data stays out.
	holt(t, "member", "transfer", "--to", "stranger", "--kubeconfig", c.Kubeconfig())
	holt(t, "member", "remove", "stranger", "--kubeconfig", c.Kubeconfig())
	select {
	case err := <-ended:
		checkRefused(t, args, []byte(out.String()), err, []string{"the server stranger was removed from the cluster"})
	case <-time.After(bound):
		t.Errorf("the removed server runs on; it printed:\n%s", out)
	}
	refused(t, args, "the server stranger was removed", "empty its data folder", "holt token create --role server")
	awaitMembers(t, c, bound, "server-1 voter true", "server-2 voter true", "server-3 voter true")
	_, err := c.AwaitSameState(within(t, bound))
	must(t, err)
}

// TestLostMajority takes the power of two servers of three for good, and goes on with the third.
func TestLostMajority(t *testing.T) {
	c := ownCluster(t, harness.Size{Servers: 3})
	const namespace = "lost"
	must(t, c.NewNamespace(within(t, bound), namespace))
	must(t, harness.WriteConfigMap(within(t, bound), c.API, namespace, "before"))
	_, err := c.AwaitSameState(within(t, bound))
	must(t, err)
	data := func(host string) string { return filepath.Join(filepath.Dir(filepath.Dir(c.LogFile(host))), "data") }

	refused(t, []string{"server", "recover", "--data-dir", data("server-1"), "--yes"}, "in use by another server")
	refused(t, []string{"server", "recover", "--data-dir", t.TempDir(), "--yes"}, "not the data folder of a server")
	must(t, c.Kill(within(t, bound), "server-2"))
	must(t, c.Kill(within(t, bound), "server-3"))
	must(t, c.Stop(within(t, bound), "server-1"))
	refused(t, []string{"server", "recover", "--data-dir", data("server-1")}, "nothing was changed: say --yes")
	out := holt(t, "server", "recover", "--data-dir", data("server-1"), "--yes")
	for _, text := range []string{"server-2 at ", "server-3 at ", "server-1 is the only server", "holt token create --role server"} {
		if !strings.Contains(out, text) {
			t.Errorf("%q is not in:\n%s", text, out)
		}
	}

	must(t, c.Start(within(t, bound), "server-1"))
	awaitMembers(t, c, bound, "server-1 voter true")
	must(t, harness.Await(within(t, bound), "a write succeeds", func(ctx context.Context) error {
		return harness.WriteConfigMap(ctx, c.At("server-1"), namespace, fmt.Sprint("after-", time.Now().UnixNano()))
	}))
	checkWritten(t, c, namespace, []string{"before"})

	// The others are refused with what they have, and join with nothing.
	must(t, c.Start(within(t, bound), "server-2"))
	must(t, harness.Await(within(t, bound), "server-2 is refused", func(context.Context) error {
		log, err := os.ReadFile(c.LogFile("server-2"))
		if err == nil && !strings.Contains(string(log), "the cluster was recovered from another server") {
			err = fmt.Errorf("it says:\n%s", log)
		}
		return err
	}))
	for _, host := range []string{"server-2", "server-3"} {
		must(t, os.RemoveAll(data(host)))
		must(t, os.Mkdir(data(host), 0o700))
		must(t, c.Start(within(t, bound), host))
	}
	awaitMembers(t, c, bound, "server-1 voter true", "server-2 voter true", "server-3 voter true")
	_, err = c.AwaitSameState(within(t, bound))
	must(t, err)
}

// TestStopOfTheLeader ends the leader's process in good order while clients write: no write may fail.
func TestStopOfTheLeader(t *testing.T) {
	c := ownCluster(t, harness.Size{Servers: 3})
	const namespace = "stop"
	must(t, c.NewNamespace(within(t, bound), namespace))
	for round := range 3 {
		writer := harness.StartWriter(t.Context(), c.API, namespace, fmt.Sprint("written-", round), 4)
		enough := func(more int) {
			before, _ := writer.Acked()
			must(t, harness.Await(within(t, bound), "there are writes", func(context.Context) error {
				if n, last := writer.Acked(); n < before+more {
					return fmt.Errorf("%d more were acknowledged; last error: %w", n-before, last)
				}
				return nil
			}))
		}
		enough(100)
		leader, err := c.Leader(within(t, bound))
		must(t, err)
		must(t, c.Stop(within(t, bound), leader))
		enough(100)
		_, last := writer.Acked()
		acked, failed := writer.Stop()
		if last != nil { // its own end cuts off what is on the way
			t.Errorf("round %d: %d of %d writes failed when %s was stopped, the last with: %v", round, failed, failed+len(acked), leader, last)
		}
		checkWritten(t, c, namespace, acked)
		must(t, c.Start(within(t, bound), leader))
		_, err = c.AwaitSameState(within(t, bound))
		must(t, err)
	}
}
