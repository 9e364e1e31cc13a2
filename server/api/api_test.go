package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/storage"
)

// log is a consensus of one in memory: proposals go through the real encoding into a real store.
type log struct {
	store *fsm.Store

	mu    sync.Mutex
	index uint64
	// fail, unless nil, answers proposals instead; after says that it does so once they are applied.
	fail  func() error
	after bool
	// leader is what Leader returns.
	name, address string
	self          bool
	linearize     func(context.Context) error
}

func (l *log) Propose(_ context.Context, ops []fsm.Op) ([]fsm.Result, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil && !l.after {
		if err := l.fail(); err != nil {
			return nil, err
		}
	}
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		return nil, err
	}
	l.index++
	res, err := l.store.Apply(l.index, data)
	if err == nil && l.fail != nil && l.after {
		err = l.fail()
	}
	return res, err
}

func (l *log) Linearize(ctx context.Context) error {
	l.mu.Lock()
	f := l.linearize
	l.mu.Unlock()
	if f != nil {
		return f(ctx)
	}
	return nil
}

func (l *log) Leader() (string, string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.name, l.address, l.self
}

func (l *log) set(f func(*log)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l)
}

type notLeaderError struct{}

func (notLeaderError) Error() string   { return "not the leader" }
func (notLeaderError) NotLeader() bool { return true }

// byHeader takes the user from a test header; peers with a client certificate are servers.
type byHeader struct{}

func (byHeader) Authenticate(r *http.Request) (auth.User, error) {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return auth.User{Name: "system:holt:server:a", Groups: []string{auth.ServersGroup}}, nil
	}
	name := r.Header.Get("Test-User")
	if name == "nobody" {
		return auth.User{}, errors.New("no such user")
	}
	if name == "" {
		name = "admin"
	}
	return auth.User{Name: name, UID: "u1", Groups: []string{"people"}, Extra: map[string][]string{"Team/x": {"1"}}}, nil
}

// byRule allows everything but what its function forbids, and records what it was asked.
type byRule struct {
	mu     sync.Mutex
	asked  []auth.Attributes
	forbid func(auth.Attributes) bool
}

func (b *byRule) Authorize(_ context.Context, a auth.Attributes) (bool, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, a)
	return b.forbid == nil || !b.forbid(a), ""
}

// cluster is one API handler over a real store, served over HTTP.
type cluster struct {
	t     testing.TB
	store *fsm.Store
	log   *log
	authz *byRule
	cfg   api.Config
	url   string
}

func newCluster(t testing.TB, change ...func(*api.Config)) *cluster {
	t.Helper()
	registry := kinds.Builtin()
	c := newClusterOf(t, fsm.New(registry.Schema(), 0), change...)
	c.url = serve(t, newHTTP(c.handler()))
	c.must("POST", "/api/v1/namespaces", `{"metadata":{"name":"default"}}`, 201)
	return c
}

func newClusterOf(t testing.TB, store *fsm.Store, change ...func(*api.Config)) *cluster {
	t.Helper()
	c := &cluster{t: t, store: store, log: &log{store: store, name: "a", self: true}, authz: &byRule{}}
	services := admission.NewServiceAllocator(netip.MustParsePrefix("10.43.0.0/24"), admission.DefaultNodePorts, store, c.log)
	c.cfg = api.Config{
		Kinds: kinds.Builtin(), Store: storage.New(store, c.log, 0), Leadership: c.log, Auth: byHeader{}, Authz: c.authz,
		Admit: []admission.Step{admission.NamespaceLifecycle(store, c.log), admission.DefaultTolerations(5), services.Step},
	}
	for _, f := range change {
		f(&c.cfg)
	}
	return c
}

func (c *cluster) handler() *api.Server {
	c.t.Helper()
	s, err := api.New(c.cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func serve(t testing.TB, s *httptest.Server) string {
	t.Cleanup(s.Close)
	return s.URL
}

func newHTTP(h http.Handler) *httptest.Server { return httptest.NewServer(h) }

// put stores an object past the API.
func (c *cluster) put(k *kinds.Kind, namespace, name string, raw []byte) {
	c.t.Helper()
	key := k.Key(namespace, name)
	_, err := c.log.Propose(c.t.Context(), []fsm.Op{{Verb: fsm.Create, Resource: key.Resource, Namespace: key.Namespace, Name: name, Raw: raw}})
	if err != nil {
		c.t.Fatal(err)
	}
}

type answer struct {
	code   int
	header http.Header
	body   []byte
}

func (a answer) decode(t testing.TB, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("decode %s: %v", a.body, err)
	}
}

func (a answer) status(t testing.TB) metav1.Status {
	t.Helper()
	var s metav1.Status
	a.decode(t, &s)
	return s
}

func (c *cluster) request(method, path, body string, headers ...string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

func (c *cluster) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	return c.send(c.request(method, path, body, headers...))
}

func (c *cluster) send(r *http.Request) answer {
	c.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, data}
}

// must fails the test unless the answer has the code.
func (c *cluster) must(method, path, body string, code int, headers ...string) answer {
	c.t.Helper()
	a := c.do(method, path, body, headers...)
	if a.code != code {
		c.t.Fatalf("%s %s: got %d, want %d: %s", method, path, a.code, code, a.body)
	}
	return a
}

// patch is must with a kind of patch.
func (c *cluster) patch(kind, path, body string, code int) answer {
	c.t.Helper()
	return c.must("PATCH", path, body, code, "Content-Type", "application/"+kind)
}

const (
	configMaps = "/api/v1/namespaces/default/configmaps"
	pods       = "/api/v1/namespaces/default/pods"
	services   = "/api/v1/namespaces/default/services"
)

func configMap(name, value string) string {
	return `{"metadata":{"name":"` + name + `","labels":{"v":"` + value + `"}},"data":{"k":"` + value + `"}}`
}

func (c *cluster) configMap(a answer) *corev1.ConfigMap {
	c.t.Helper()
	var cm corev1.ConfigMap
	a.decode(c.t, &cm)
	return &cm
}

func podBody(name, extra string) string {
	return `{"metadata":{"name":"` + name + `"},"spec":{` + extra + `"containers":[{"name":"c","image":"i"}]}}`
}
