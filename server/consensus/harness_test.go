package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/consensus"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimEnv); dir != "" {
		os.Exit(victim(dir))
	}
	goleak.VerifyTestMain(m)
}

// patience bounds waits that must end; no test says how fast.
const patience = 60 * time.Second

func newStore() *fsm.Store {
	return fsm.New(fsm.NewSchema(nil, fsm.Resource{
		Name: "configmaps",
		Decode: func(raw []byte) (fsm.Value, error) {
			cm := &corev1.ConfigMap{}
			return cm, cm.Unmarshal(raw)
		},
	}), 0)
}

func configMap(t testing.TB, name, value string) []byte {
	t.Helper()
	raw, err := configMapOf(name, value).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func configMapOf(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"},
		Data:       map[string]string{"value": value},
	}
}

func create(t testing.TB, name, value string) fsm.Op {
	return fsm.Op{Verb: fsm.Create, Resource: "configmaps", Namespace: "default", Name: name,
		Raw: configMap(t, name, value)}
}

func update(t testing.TB, name, value string) fsm.Op {
	op := create(t, name, value)
	op.Verb = fsm.Update
	return op
}

// value reads what a server's own memory holds.
func value(s *fsm.Store, name string) string {
	o, ok := s.View().Get(fsm.Key{Resource: "configmaps", Namespace: "default", Name: name})
	if !ok {
		return ""
	}
	return o.Value.(*corev1.ConfigMap).Data["value"]
}

// network is loopback TCP that can lose everything from and to a server.
type network struct {
	mu    sync.Mutex
	cut   map[string]bool
	conns map[*wire]bool
}

func newNetwork() *network { return &network{cut: map[string]bool{}, conns: map[*wire]bool{}} }

// wire is the dialling end of a connection. Once lost, what is sent on it vanishes and nothing is received.
type wire struct {
	net.Conn
	net      *network
	from, to string
	lost     bool // guarded by net.mu
}

func (w *wire) isLost() bool {
	w.net.mu.Lock()
	defer w.net.mu.Unlock()
	return w.lost
}

func (w *wire) Read(p []byte) (int, error) {
	for {
		n, err := w.Conn.Read(p)
		if err != nil || !w.isLost() {
			return n, err
		}
	}
}

func (w *wire) Write(p []byte) (int, error) {
	if w.isLost() {
		return len(p), nil
	}
	return w.Conn.Write(p)
}

func (w *wire) Close() error {
	w.net.mu.Lock()
	delete(w.net.conns, w)
	w.net.mu.Unlock()
	return w.Conn.Close()
}

func (n *network) isolate(address string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[address] = cut
	for w := range n.conns {
		if cut && (w.from == address || w.to == address) {
			w.lost = true
		}
	}
}

type endpoint struct {
	net.Listener
	net *network
}

func (n *network) listen(t testing.TB, address string) *endpoint {
	t.Helper()
	e, err := n.tryListen(address)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (n *network) tryListen(address string) (*endpoint, error) {
	l, err := net.Listen("tcp", address)
	return &endpoint{l, n}, err
}

func (e *endpoint) address() string { return e.Addr().String() }

func (e *endpoint) Dial(address string, timeout time.Duration) (net.Conn, error) {
	e.net.mu.Lock()
	unreachable := e.net.cut[address] || e.net.cut[e.address()]
	e.net.mu.Unlock()
	if unreachable {
		return nil, fmt.Errorf("dial %s: %w", address, os.ErrDeadlineExceeded)
	}
	c, err := net.DialTimeout("tcp", address, timeout)
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: c, net: e.net, from: e.address(), to: address}
	e.net.mu.Lock()
	defer e.net.mu.Unlock()
	w.lost = e.net.cut[address] || e.net.cut[e.address()]
	e.net.conns[w] = true
	return w, nil
}

// server is one node of a test cluster, with what outlives it.
type server struct {
	*consensus.Node
	name, address, dir string
	store              *fsm.Store
	up                 bool
}

type cluster struct {
	t       testing.TB
	net     *network
	servers []*server
	tune    func(*consensus.Config)
}

// newCluster starts servers s0, s1, ... and waits until each has joined.
func newCluster(t testing.TB, size int, tune func(*consensus.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, net: newNetwork(), tune: tune}
	t.Cleanup(c.close)
	for i := range size {
		s := &server{name: fmt.Sprintf("s%d", i), address: "127.0.0.1:0", dir: t.TempDir()}
		c.servers = append(c.servers, s)
		c.start(s)
		if i == 0 {
			c.leader()
			continue
		}
		c.join(s)
	}
	return c
}

// join makes the server a voter, through whoever leads.
func (c *cluster) join(s *server) {
	c.t.Helper()
	for {
		leader := c.leader()
		err := leader.Join(c.ctx(), s.name, s.address)
		if err == nil {
			err = leader.Group().Promote(c.ctx(), s.name)
		}
		if err == nil {
			return
		}
		if !errors.Is(err, consensus.ErrNotLeader) { // on a busy machine another one may lead by now
			c.t.Fatalf("join %s: %v", s.name, err)
		}
	}
}

func (c *cluster) start(s *server) {
	c.t.Helper()
	if err := c.tryStart(s); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) tryStart(s *server) error {
	e := c.net.listen(c.t, s.address)
	s.address, s.store = e.address(), newStore()
	cfg := consensus.Config{
		Name: s.name, Address: s.address, Cluster: "test", DataDir: s.dir, Transport: e,
		Bootstrap: s == c.servers[0] && len(c.servers) == 1, Log: testLog(c.t, s.name),
		Fatal: func(err error) { c.t.Errorf("%s: fatal: %v", s.name, err) },
	}
	if c.tune != nil {
		c.tune(&cfg)
	}
	node, err := consensus.Open(cfg, s.store)
	s.Node, s.up = node, err == nil
	return err
}

// stop closes the server as an operator does.
func (c *cluster) stop(s *server) {
	c.t.Helper()
	s.up = false
	if err := s.Close(context.Background()); err != nil {
		c.t.Errorf("close %s: %v", s.name, err)
	}
}

// kill cuts the server off before it is closed, so that it can tell nobody.
func (c *cluster) kill(s *server) {
	c.t.Helper()
	c.net.isolate(s.address, true)
	c.stop(s)
	c.net.isolate(s.address, false)
}

func (c *cluster) close() {
	for _, s := range c.servers {
		if s.up {
			c.net.isolate(s.address, true) // a handover is of no use to anybody
			c.stop(s)
		}
	}
}

func (c *cluster) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

// leader waits until a server that is not cut off leads, and has shown that it can.
func (c *cluster) leader() *server {
	c.t.Helper()
	ctx := c.ctx()
	for ctx.Err() == nil {
		for _, s := range c.servers {
			if !s.up || c.cutOff(s) {
				continue
			}
			if _, _, self := s.Leader(); self && s.Linearize(ctx) == nil {
				if _, _, still := s.Leader(); still {
					return s
				}
			}
		}
		c.anyChange(ctx)
	}
	c.t.Fatal("no leader")
	return nil
}

func (c *cluster) cutOff(s *server) bool {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	return c.net.cut[s.address]
}

// anyChange waits until a server sees another leader, or a moment if it did so before.
func (c *cluster) anyChange(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	<-ctx.Done()
}

func (c *cluster) followers() []*server {
	leader := c.leader()
	var out []*server
	for _, s := range c.servers {
		if s.up && s != leader {
			out = append(out, s)
		}
	}
	return out
}

// write proposes through whoever leads, until it is acknowledged.
func (c *cluster) write(ops ...fsm.Op) []fsm.Result {
	c.t.Helper()
	for range 20 {
		results, err := c.leader().Propose(c.ctx(), ops)
		if err == nil {
			return results
		}
		c.t.Logf("propose again after: %v", err)
	}
	c.t.Fatal("no write succeeds")
	return nil
}

// sameDigest makes every running server show everything, and compares.
func (c *cluster) sameDigest() string {
	c.t.Helper()
	digests := map[string][]string{}
	var digest string
	for _, s := range c.servers {
		if !s.up {
			continue
		}
		if err := s.Linearize(c.ctx()); err != nil {
			c.t.Fatalf("%s: %v", s.name, err)
		}
		digest = s.Status().Digest
		digests[digest] = append(digests[digest], s.name)
	}
	if len(digests) != 1 {
		c.t.Fatalf("the servers have diverged: %v", digests)
	}
	return digest
}

// testLog shows warnings of a test that failed or is verbose.
func testLog(t testing.TB, name string) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.close)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelWarn})).With("server", name)
}

type testWriter struct {
	mu   sync.Mutex
	t    testing.TB
	done bool
}

func (w *testWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.done {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

func (w *testWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
}
