package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/sandbox"
)

// stranger is a holt process of the machine itself, which is no host of the cluster but reaches it.
type stranger struct {
	cluster *harness.Cluster
	address string // the machine's, in the cluster's network
	dir     string
}

func newStranger(t *testing.T, c *harness.Cluster) stranger {
	t.Helper()
	gateway, err := c.Gateway()
	must(t, err)
	return stranger{c, gateway.String(), t.TempDir()}
}

// server and agent are the arguments of a node that joins the cluster with a token.
func (s stranger) server(token string) []string {
	return s.join(sandbox.RoleServer, "stranger", s.dir+"/server", token)
}

func (s stranger) agent(token string) []string {
	return s.join(sandbox.RoleAgent, "stranger", s.dir+"/agent", token)
}

func (s stranger) join(role, name, dataDir, token string) []string {
	args := []string{role, "--name", name, "--data-dir", dataDir, "--join", harness.URL(s.cluster.Servers()[0]), "--token", token}
	if role == sandbox.RoleAgent {
		return append(args, "--node-ip", s.cluster.Agents()[1].Address, "--run-dir", s.dir+"/run")
	}
	return append(args, "--bind", s.address)
}

// An agent changes the network that it is in; one that is admitted by mistake must not change the machine's. So it runs
// where a worker is, and goes with it.
func (s stranger) refusedAgent(t *testing.T, args []string, texts ...string) {
	t.Helper()
	namespace := "/run/netns/" + s.cluster.Agents()[1].NetNS
	cmd := exec.CommandContext(within(t, bound/4), "nsenter", append([]string{"--net=" + namespace, programs.Holt}, args...)...)
	out, err := cmd.CombinedOutput()
	checkRefused(t, args, out, err, texts)
}

// refused runs holt, which must end by itself with an error that holds every one of the texts.
func refused(t *testing.T, args []string, texts ...string) {
	t.Helper()
	// What is not refused at once would wait for ever, or serve.
	out, err := exec.CommandContext(within(t, bound/4), programs.Holt, args...).CombinedOutput()
	checkRefused(t, args, out, err, texts)
}

func checkRefused(t *testing.T, args []string, out []byte, err error, texts []string) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("holt %s: %v, want exit status 1; it printed:\n%s", strings.Join(args, " "), err, out)
		return
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	message := lines[len(lines)-1]
	for _, text := range texts {
		if !strings.Contains(message, text) {
			t.Errorf("holt %s: %q is not in the last line of:\n%s", strings.Join(args, " "), text, out)
		}
	}
	if bytes.Contains(out, []byte("goroutine ")) {
		t.Errorf("holt %s panicked:\n%s", strings.Join(args, " "), out)
	}
}

// unchanged checks that the cluster has the same nodes and servers as before when the test ends.
func unchanged(t *testing.T, c *harness.Cluster) {
	t.Helper()
	look := func(ctx context.Context) (out []string) {
		nodes, err := harness.List[corev1.NodeList](ctx, c.API, harness.NodesKind, "", "")
		if err != nil {
			t.Error(err)
		}
		for _, n := range nodes.Items {
			out = append(out, n.Name+" "+string(n.UID))
		}
		status, err := c.AwaitSameState(ctx)
		if err != nil {
			t.Error(err)
		}
		return append(out, fmt.Sprintf("term %d, leader %s", status.Term, status.Leader))
	}
	before := look(within(t, bound))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if diff := cmp.Diff(before, look(ctx)); diff != "" {
			t.Errorf("the cluster has changed (-before +after):\n%s", diff)
		}
	})
}

// token reads one of the tokens that the sandbox keeps.
func token(t *testing.T, c *harness.Cluster, role string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.Dir(), role+"-token"))
	must(t, err)
	return strings.TrimSpace(string(data))
}

// TestTokens joins with tokens that do not admit the node.
func TestTokens(t *testing.T) {
	c := sharedCluster(t)
	unchanged(t, c)
	s := newStranger(t, c)
	forServers, forAgents := token(t, c, sandbox.RoleServer), token(t, c, sandbox.RoleAgent)

	s.refusedAgent(t, s.agent("nonsense"), "token")
	refused(t, s.server("nonsense"), "token")
	s.refusedAgent(t, s.agent(""), "token")
	refused(t, s.server(forAgents), "agent", "holt token create --role server")
	s.refusedAgent(t, s.agent(forServers), "server", "holt token create --role agent")
	s.refusedAgent(t, s.agent(withOtherSecret(t, forAgents)), "the token is not valid here")
	s.refusedAgent(t, s.agent(forAgents[:len(forAgents)-8]+"00000000"), "of another cluster")
	refused(t, s.server(withOtherSecret(t, forServers)), "the token is not valid here")

	// Expiry is kept in whole seconds, rounded down: this token has none of its millisecond left.
	expired := strings.TrimSpace(holt(t, "token", "create", "--role", "agent", "--ttl", "1ms", "--kubeconfig", c.Kubeconfig()))
	s.refusedAgent(t, s.agent(expired), "the token has expired", "holt token create --role agent")

	revoked := strings.TrimSpace(holt(t, "token", "create", "--role", "agent", "--kubeconfig", c.Kubeconfig()))
	id := strings.Split(revoked, ".")[2]
	kubectl(t, c, "delete", "secret", "-n", "kube-system", "holt-token-"+id)
	s.refusedAgent(t, s.agent(revoked), "the token is not valid here")

	s.refusedAgent(t, s.join(sandbox.RoleAgent, "agent-1", s.dir+"/agent", forAgents), "a living agent has the name agent-1 already")
}

// withOtherSecret changes the secret of a token: holt1.ROLE.ID.SECRET.FINGERPRINT.
func withOtherSecret(t *testing.T, token string) string {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 5 {
		t.Fatalf("%d parts of a token, want 5", len(parts))
	}
	parts[3] = strings.Repeat("0", len(parts[3]))
	return strings.Join(parts, ".")
}

// TestDataFolders starts nodes on folders that are another's.
func TestDataFolders(t *testing.T) {
	c := sharedCluster(t)
	unchanged(t, c)
	s := newStranger(t, c)
	dataOf := func(host string) string { return filepath.Join(c.Dir(), "hosts", host, "data") }

	refused(t, s.join(sandbox.RoleServer, "server-1", dataOf("server-1"), token(t, c, sandbox.RoleServer)), "in use")
	s.refusedAgent(t, s.join(sandbox.RoleAgent, "agent-1", dataOf("agent-1"), token(t, c, sandbox.RoleAgent)), "in use")

	// A server that has founded a cluster of its own cannot join another with the same folder.
	own := []string{"server", "--name", "stranger", "--bind", s.address, "--data-dir", filepath.Join(s.dir, "server")}
	runUntilItServes(t, s, own)
	refused(t, s.server(token(t, c, sandbox.RoleServer)), "another cluster", filepath.Join(s.dir, "server"))
}

// runUntilItServes runs a server until it has written its kubeconfig and answers, and ends it in order.
func runUntilItServes(t *testing.T, s stranger, args []string) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(within(t, bound), programs.Holt, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	err := harness.Await(within(t, bound), "the server serves", func(context.Context) error {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(s.address, "6443"), time.Second)
		if err == nil {
			_, err = os.Stat(filepath.Join(s.dir, "server", "admin.kubeconfig"))
			_ = conn.Close()
		}
		return err
	})
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if e := cmd.Wait(); err != nil || e != nil {
		t.Fatalf("%v; it ended with %v and printed:\n%s", err, e, &out)
	}
}

// TestPortInUse starts a server where somebody else listens.
func TestPortInUse(t *testing.T) {
	c := sharedCluster(t)
	s := newStranger(t, c)
	listener, err := net.Listen("tcp", net.JoinHostPort(s.address, "6443"))
	must(t, err)
	defer func() { _ = listener.Close() }()
	refused(t, []string{"server", "--name", "stranger", "--bind", s.address, "--data-dir", filepath.Join(s.dir, "server")},
		s.address+":6443", "in use")
}

// TestFlags gives flags values that make no sense.
func TestFlags(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct{ args, want string }{
		{"server --bind here", "--bind"},
		{"server --bind 0.0.0.0", "--bind"},
		{"server --bind 127.0.0.1 --cluster-cidr 10.0.0.0", "--cluster-cidr"},
		{"server --bind 127.0.0.1 --cluster-cidr 10.0.0.0/28", "--cluster-cidr"},
		{"server --bind 127.0.0.1 --cluster-cidr 10.0.0.0/8 --service-cidr 10.1.0.0/16", "overlap"},
		{"server --bind 127.0.0.1 --join http://127.0.0.1", "--join"},
		{"server --bind 127.0.0.1 --port 65536", "--port"},
		{"server --bind 127.0.0.1 --name Not_A_Name", "--name"},
		{"server --bind 127.0.0.1 --log-level loud", "--log-level"},
		{"server --bind 127.0.0.1 --config /no/such/file", "/no/such/file"},
		{"server --no-such-flag", "no-such-flag"},
		{"agent --node-ip here --join https://127.0.0.1", "--node-ip"},
		{"agent --node-ip 127.0.0.1", "--join"},
		{"agent --node-ip 127.0.0.1 --join https://127.0.0.1 --token-file /no/such/file", "/no/such/file"},
		{"token create --role king", "--role"},
		{"token create --kubeconfig /no/such/file", "/no/such/file"},
		{"up --servers 0", "servers"},
		{"host kill", "name of one host"},
		{"fly", "unknown command"},
	} {
		args := strings.Fields(c.args)
		if args[0] == "server" || args[0] == "agent" {
			args = append(args, "--data-dir", filepath.Join(dir, "data"))
		}
		refused(t, args, c.want)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a refused command has written %v, %v", entries, err)
	}
}

// TestNotRoot runs as nobody what needs root.
func TestNotRoot(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "holt-e2e-nobody")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o777)) //nolint:gosec // nobody has to be able to write there, so that nothing else is in the way
	for _, args := range [][]string{
		{"up", "--name", newName()},
		{"down", "--name", newName()},
		{"agent", "--node-ip", "127.0.0.1", "--join", "https://127.0.0.1", "--data-dir", dir + "/agent", "--run-dir", dir + "/run"},
	} {
		cmd := exec.CommandContext(within(t, bound), programs.Holt, args...)
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		out, err := cmd.CombinedOutput()
		checkRefused(t, args, out, err, []string{"root"})
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("a refused command has written %v, %v", entries, err)
	}
}
