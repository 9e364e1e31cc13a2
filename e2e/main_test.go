package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/sandbox"
)

// namePrefix begins the names of all sandboxes of e2e runs.
const namePrefix = "e2e-"

// bound is how long anything may take that is not measured: generous, as test machines are busy.
const bound = time.Minute

// usual is the size of cluster that the scenarios are about.
var usual = harness.Size{Servers: 3, Agents: 2}

var programs harness.Programs

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	var err error
	if programs, err = harness.FindPrograms(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if isolated() {
		if err := isolate(); err != nil {
			fmt.Fprintln(os.Stderr, "isolating the test:", err)
			return 1
		}
	}
	ctx := context.Background()
	if err := removeLeftovers(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "removing what an earlier run left behind:", err)
		return 1
	}
	code := m.Run()
	if err := errors.Join(downShared(ctx), leftBehind()); err != nil {
		fmt.Fprintln(os.Stderr, "removing the clusters:", err)
		return 1
	}
	return code
}

// removeLeftovers removes the sandboxes of runs whose process has gone.
func removeLeftovers(ctx context.Context) error {
	names, err := sandbox.List()
	if err != nil {
		return err
	}
	var failures error
	for _, name := range names {
		rest, ours := strings.CutPrefix(name, namePrefix)
		pid, _, _ := strings.Cut(rest, "-")
		n, err := strconv.Atoi(pid)
		if !ours || err != nil || syscall.Kill(n, 0) == nil {
			continue
		}
		if _, err := sandbox.Down(ctx, name); err != nil {
			failures = errors.Join(failures, err)
		}
	}
	return failures
}

var counter atomic.Int32

func newName() string { return fmt.Sprintf("%s%d-%d", namePrefix, os.Getpid(), counter.Add(1)) }

// shared is the cluster of all tests that leave a cluster whole. It starts with the first of them.
var shared struct {
	once    sync.Once
	cluster *harness.Cluster
	err     error
}

func sharedCluster(t *testing.T) *harness.Cluster {
	t.Helper()
	shared.once.Do(func() {
		shared.cluster, shared.err = harness.Up(context.Background(), programs, newName(), usual, progress(os.Stderr))
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

func downShared(ctx context.Context) error {
	if shared.cluster == nil {
		return nil
	}
	return shared.cluster.Down(ctx)
}

// ownCluster starts a cluster that is removed when the test ends.
func ownCluster(t *testing.T, size harness.Size) *harness.Cluster {
	t.Helper()
	c, err := harness.Up(t.Context(), programs, newName(), size, progress(t.Output()))
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			tellLogs(t, c)
		}
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func progress(w io.Writer) *slog.Logger {
	if !testing.Verbose() {
		return nil
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

// tellLogs prints the end of what each host of a failed test's cluster said: Down removes it.
func tellLogs(t *testing.T, c *harness.Cluster) {
	const tail = 4 << 10
	for _, h := range append(c.Servers(), c.Agents()...) {
		data, err := os.ReadFile(c.LogFile(h.Name))
		if err != nil {
			t.Log(err)
			continue
		}
		t.Logf("the end of %s's log:\n%s", h.Name, data[max(0, len(data)-tail):])
	}
}

// within is a context for one wait.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// kubectl runs kubectl; it must succeed.
func kubectl(t *testing.T, c *harness.Cluster, args ...string) string {
	t.Helper()
	out, err := c.Kubectl(within(t, 2*bound), args...)
	must(t, err)
	return out
}

// whoamiIn applies the example into a new namespace, with a node port that the cluster chooses, and returns the port.
func whoamiIn(t *testing.T, c *harness.Cluster, namespace string, replicas int) int32 {
	t.Helper()
	must(t, c.NewNamespace(within(t, bound), namespace))
	manifest, err := os.ReadFile(programs.Examples + "/whoami.yaml")
	must(t, err)
	text := strings.Replace(string(manifest), "nodePort: 30080", "", 1)
	text = strings.Replace(text, "replicas: 3", "replicas: "+strconv.Itoa(replicas), 1)
	file := t.TempDir() + "/whoami.yaml"
	must(t, os.WriteFile(file, []byte(text), 0o600))
	kubectl(t, c, "apply", "-n", namespace, "-f", file)
	kubectl(t, c, "rollout", "status", "-n", namespace, "deployment/whoami", "--timeout=60s")
	port, err := c.NodePort(within(t, bound), namespace, "whoami")
	must(t, err)
	return port
}

// removeNamespace deletes a namespace of the shared cluster when the test ends, and waits until it has gone.
func removeNamespace(t *testing.T, c *harness.Cluster, namespace string) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*bound)
		defer cancel()
		if _, err := c.Kubectl(ctx, "delete", "namespace", namespace, "--timeout=90s"); err != nil {
			t.Error(err)
		}
	})
}

func nodeURL(agent sandbox.Host, port int32) string {
	return fmt.Sprintf("http://%s:%d/", agent.Address, port)
}
