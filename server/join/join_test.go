package join_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/enroll"
	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/consensus"
	"github.com/holt-project/holt/server/join"
	"github.com/holt-project/holt/server/kinds"
)

// world is one server's desk behind real TLS.
type world struct {
	store       *fsm.Store
	authority   *pki.Authority
	fingerprint string
	agent       pki.Token
	desk        *join.Desk
	ring        seal.Ring
	server      *httptest.Server

	mu    sync.Mutex
	alive map[string]bool
	err   error // what Linearize answers
	index uint64
}

func (w *world) View() fsm.View { return w.store.View() }

func (w *world) Linearize(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *world) isAlive(role, name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive[role+"/"+name]
}

var log = slog.New(slog.DiscardHandler)

func newWorld(t testing.TB) *world {
	t.Helper()
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{store: fsm.New(kinds.Builtin().Schema(), 0), authority: a, alive: map[string]bool{}}
	if w.fingerprint, err = pki.Fingerprint(a.CertPEM); err != nil {
		t.Fatal(err)
	}
	if w.ring, err = seal.NewRing(time.Now()); err != nil {
		t.Fatal(err)
	}
	w.put(t, join.Cluster{Authority: a, GossipKey: bytes.Repeat([]byte{7}, 32)}.Secret())
	w.agent = w.token(t, pki.RoleAgent, time.Now().Add(time.Hour))
	w.desk = join.NewDesk(w, w.isAlive, func() []string { return []string{"https://192.0.2.1:6443"} },
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.43.0.1"), enroll.Cluster{
			ClusterCIDR: netip.MustParsePrefix("10.42.0.0/16"), ServiceCIDR: netip.MustParsePrefix("10.43.0.0/16"), Domain: "cluster.local",
		}, func() seal.Ring { return w.ring }, log)
	mux := http.NewServeMux()
	mux.HandleFunc(enroll.PathCA, w.desk.CA)
	mux.HandleFunc(enroll.PathJoin, w.desk.Join)
	w.server = w.serve(t, mux, join.ServerSubject("s1", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.43.0.1")))
	return w
}

func (w *world) serve(t testing.TB, h http.Handler, as pki.Subject) *httptest.Server {
	t.Helper()
	pair, err := w.authority.Issue(as, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	if s.TLS, err = (pki.Identity{Pair: pair, AuthorityPEM: w.authority.CertPEM}).ServerTLS(); err != nil {
		t.Fatal(err)
	}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (w *world) put(t testing.TB, obj fsm.Value) {
	t.Helper()
	raw, err := kinds.Builtin().ByStore("secrets").Encode(obj)
	if err != nil {
		t.Fatal(err)
	}
	data, err := fsm.Command{Ops: []fsm.Op{{Verb: fsm.Create, Resource: "secrets", Namespace: obj.GetNamespace(), Name: obj.GetName(), Raw: raw}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.index++
	if res, err := w.store.Apply(w.index, data); err != nil || res[0].Err != nil {
		t.Fatal(err, res)
	}
}

func (w *world) token(t testing.TB, role string, expires time.Time) pki.Token {
	t.Helper()
	token, err := pki.NewToken(role, w.fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	w.put(t, join.TokenSecret(token, expires))
	return token
}

func (w *world) join(token pki.Token, name, address string) (pki.Identity, enroll.Grant, error) {
	return enroll.Join(context.Background(), []string{w.server.URL}, token, name, address)
}

func TestJoin(t *testing.T) {
	w := newWorld(t)
	for role, want := range map[string]string{pki.RoleAgent: "system:node:n1", pki.RoleServer: "system:holt:server:n1"} {
		id, grant, err := w.join(w.token(t, role, time.Time{}), "n1", "192.0.2.9")
		if err != nil {
			t.Fatal(err)
		}
		cert, err := pki.ParseCertificate(id.CertPEM)
		if err != nil {
			t.Fatal(err)
		}
		if cert.Subject.CommonName != want || cert.VerifyHostname("192.0.2.9") != nil || len(grant.GossipKey) != 32 ||
			len(grant.Servers) != 1 || grant.Cluster.Domain != "cluster.local" {
			t.Errorf("%s: subject %v, grant %+v", role, cert.Subject, grant)
		}
		if (cert.VerifyHostname("kubernetes.default.svc") == nil) != (role == pki.RoleServer) {
			t.Errorf("%s: serves under %v", role, cert.DNSNames)
		}
	}
}

func TestRefused(t *testing.T) {
	w := newWorld(t)
	w.alive["agent/alive"] = true
	changed := func(f func(*pki.Token)) pki.Token { t := w.agent; f(&t); return t }
	wrong := changed(func(t *pki.Token) { t.Secret = strings.Repeat("0", 32) })
	unknown := changed(func(t *pki.Token) { t.ID = "00000000" })
	for name, c := range map[string]struct {
		token         pki.Token
		node, address string
		want          string
	}{
		"wrong secret":         {wrong, "n1", "192.0.2.9", "the token is not valid here"},
		"unknown token":        {unknown, "n1", "192.0.2.9", "the token is not valid here"},
		"the cluster's ID":     {changed(func(t *pki.Token) { t.ID = "\x00../" }), "n1", "192.0.2.9", "the token is not valid here"},
		"expired":              {w.token(t, pki.RoleAgent, time.Now().Add(-time.Second)), "n1", "192.0.2.9", "expired"},
		"another role":         {changed(func(t *pki.Token) { t.Role = pki.RoleServer }), "n1", "192.0.2.9", "of the role agent"},
		"no role":              {changed(func(t *pki.Token) { t.Role = "" }), "n1", "192.0.2.9", "of the role agent"},
		"invalid name":         {w.agent, "N 1", "192.0.2.9", "cannot be a node's name"},
		"no name":              {w.agent, "", "192.0.2.9", "cannot be a node's name"},
		"a name of the API":    {w.agent, "kubernetes.default.svc", "192.0.2.9", "a name of the API"},
		"localhost":            {w.agent, "localhost", "192.0.2.9", "a name of the API"},
		"alive":                {w.agent, "alive", "192.0.2.9", "choose another with --name"},
		"no address":           {w.agent, "n1", "", "not an address"},
		"a name for address":   {w.agent, "n1", "n1", "not an address"},
		"loopback":             {w.agent, "n1", "127.0.0.1", "not an address"},
		"unspecified":          {w.agent, "n1", "0.0.0.0", "not an address"},
		"multicast":            {w.agent, "n1", "224.0.0.1", "not an address"},
		"the API's Service":    {w.agent, "n1", "10.43.0.1", "not an address"},
		"a pod":                {w.agent, "n1", "10.42.3.4", "not an address"},
		"another cluster's":    {changed(func(t *pki.Token) { t.Fingerprint = strings.Repeat("0", 64) }), "n1", "192.0.2.9", "another cluster"},
		"mapped IPv6 of a pod": {w.agent, "n1", "::ffff:10.42.3.4", "not an address"},
	} {
		_, grant, err := w.join(c.token, c.node, c.address)
		if !errors.Is(err, enroll.ErrRefused) || !strings.Contains(err.Error(), c.want) || len(grant.GossipKey) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, e1 := w.join(wrong, "n1", "192.0.2.9")
	if _, _, e2 := w.join(unknown, "n1", "192.0.2.9"); e1.Error() != e2.Error() {
		t.Errorf("an unknown token and a wrong secret can be told apart: %v, %v", e1, e2)
	}
}

func TestNotReadyIsNoRefusal(t *testing.T) {
	w := newWorld(t)
	w.err = errors.New("no leader")
	if _, _, err := w.join(w.agent, "n1", "192.0.2.9"); err == nil || errors.Is(err, enroll.ErrRefused) {
		t.Errorf("without a leader: %v", err)
	}
	w.err, w.store = nil, fsm.New(kinds.Builtin().Schema(), 0)
	if _, _, err := w.join(w.agent, "n1", "192.0.2.9"); err == nil || errors.Is(err, enroll.ErrRefused) {
		t.Errorf("before the cluster's secrets are stored: %v", err)
	}
}

func TestNextServerIsAsked(t *testing.T) {
	w := newWorld(t)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = dead.Close()
	if _, _, err := enroll.Join(context.Background(), []string{"https://" + dead.Addr().String(), w.server.URL}, w.agent, "n1", "192.0.2.9"); err != nil {
		t.Error(err)
	}
}

func TestGarbage(t *testing.T) {
	w := newWorld(t)
	post := func(body string) int {
		t.Helper()
		resp, err := w.server.Client().Post(w.server.URL+enroll.PathJoin, "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	request := func(csr string) string {
		data, err := json.Marshal(enroll.Request{TokenID: w.agent.ID, Secret: w.agent.Secret, Role: pki.RoleAgent, Name: "n1", Address: "192.0.2.9", CSR: []byte(csr)})
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	for _, body := range []string{"", "x", "[]", `{"csr":1}`, request(""), request("x"), `{"name":"` + strings.Repeat("a", 1<<20) + `"}`} {
		if code := post(body); code < 400 || code > 499 {
			t.Errorf("%.40q: %d", body, code)
		}
	}
	if code := post("{}"); code != http.StatusUnauthorized {
		t.Errorf("an empty request: %d", code)
	}
}

// middle answers like a server of the cluster as far as somebody can who is not, and keeps what it is told.
func middle(t *testing.T, w *world, config *tls.Config, ca []byte) (url string, told func() string) {
	t.Helper()
	var mu sync.Mutex
	var heard bytes.Buffer
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == enroll.PathCA {
			_, _ = rw.Write(ca)
			return
		}
		data, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		heard.Write(data)
		http.Redirect(rw, r, w.server.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	s.TLS = config
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, func() string {
		mu.Lock()
		defer mu.Unlock()
		return heard.String()
	}
}

func TestSecretIsNeverSentToAStranger(t *testing.T) {
	w := newWorld(t)
	evil, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config := func(a *pki.Authority, groups ...string) *tls.Config {
		t.Helper()
		pair, err := a.Issue(pki.Subject{User: "system:node:evil", Groups: groups, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		c, err := pki.Identity{Pair: pair, AuthorityPEM: a.CertPEM}.ServerTLS()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for name, c := range map[string]struct {
		tls *tls.Config
		ca  []byte
	}{
		"its own CA":               {config(evil, auth.ServersGroup), evil.CertPEM},
		"the true CA":              {config(evil, auth.ServersGroup), w.authority.CertPEM},
		"the true CA and its own":  {config(evil, auth.ServersGroup), append(bytes.Clone(w.authority.CertPEM), evil.CertPEM...)},
		"an agent of this cluster": {config(w.authority, auth.NodesGroup), w.authority.CertPEM},
		"garbage":                  {config(evil), []byte("x")},
		"too much":                 {config(evil), bytes.Repeat([]byte("x"), 2<<20)},
	} {
		url, told := middle(t, w, c.tls, c.ca)
		if _, _, err := enroll.Join(context.Background(), []string{url}, w.agent, "n1", "192.0.2.9"); err == nil {
			t.Errorf("%s: joined", name)
		}
		if got := told(); got != "" {
			t.Errorf("%s: was told %s", name, got)
		}
	}
	// A server of the cluster is told the secret, but cannot pass it on by a redirect.
	url, told := middle(t, w, config(w.authority, auth.ServersGroup), w.authority.CertPEM)
	if _, _, err := enroll.Join(context.Background(), []string{url}, w.agent, "n1", "192.0.2.9"); err == nil || told() == "" {
		t.Errorf("a redirect was followed: %v", err)
	}
}

// group is a Raft group of one.
type group struct {
	leader bool
	joined []string
	err    error
}

func (g *group) Join(_ context.Context, name, address string) error {
	g.joined = append(g.joined, name+"@"+address)
	return g.err
}

func (g *group) Leader() (name, address string, self bool) { return "s9", "192.0.2.99:6443", g.leader }

func TestMembers(t *testing.T) {
	w := newWorld(t)
	g := &group{leader: true}
	removed := func(_ context.Context, id string) (string, error) {
		if id == "s2/gone" {
			return "s2 was removed", nil
		}
		return "", g.err
	}
	s := w.serve(t, join.Members(g, removed), join.ServerSubject("s1", netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("10.43.0.1")))
	ask := func(as *pki.Subject, name string) (int, string) {
		t.Helper()
		anyone, err := w.authority.Issue(pki.Subject{User: "x"}, time.Now())
		if as != nil {
			anyone, err = w.authority.Issue(*as, time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
		config, err := pki.Identity{Pair: anyone, AuthorityPEM: w.authority.CertPEM}.ClientTLS()
		if err != nil {
			t.Fatal(err)
		}
		if as == nil {
			config.Certificates = nil
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		defer client.CloseIdleConnections()
		resp, err := client.Post(s.URL, "application/json", strings.NewReader(`{"name":"`+name+`","address":"192.0.2.2:6443"}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		data, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(data)
	}
	s2 := pki.Subject{User: "system:holt:server:s2", Groups: []string{auth.ServersGroup}}
	for name, c := range map[string]struct {
		as   *pki.Subject
		name string
	}{
		"nobody":              {nil, "s2"},
		"an agent":            {&pki.Subject{User: "system:node:s2", Groups: []string{auth.NodesGroup}}, "s2"},
		"an administrator":    {&pki.Subject{User: "admin", Groups: []string{auth.AdminGroup}}, "s2"},
		"another server":      {&s2, "s3"},
		"a user of that name": {&pki.Subject{User: "system:holt:server:s2"}, "s2"},
		"a server, no name":   {&s2, ""},
	} {
		if code, _ := ask(c.as, c.name); code != http.StatusForbidden {
			t.Errorf("%s: %d", name, code)
		}
	}
	if len(g.joined) > 0 {
		t.Errorf("joined: %v", g.joined)
	}
	if code, _ := ask(&s2, "s2"); code != http.StatusOK || len(g.joined) != 1 || g.joined[0] != "s2@192.0.2.2:6443" {
		t.Errorf("itself: %d, %v", code, g.joined)
	}
	if code, body := ask(&s2, `s2","id":"s2/gone`); code != http.StatusForbidden || !strings.Contains(body, "s2 was removed") {
		t.Errorf("one that was removed: %d %s", code, body)
	}
	g.err = consensus.ErrLeftBehind
	if code, body := ask(&s2, "s2"); code != http.StatusForbidden || !strings.Contains(body, "empty its data folder") {
		t.Errorf("one of another history: %d %s", code, body)
	}
	g.err = errors.New("no majority")
	if code, body := ask(&s2, "s2"); code != http.StatusServiceUnavailable || !strings.Contains(body, "no majority") {
		t.Errorf("a failure: %d %s", code, body)
	}
	g.leader = false
	if code, body := ask(&s2, "s2"); code != http.StatusMisdirectedRequest || !strings.Contains(body, "192.0.2.99:6443") {
		t.Errorf("elsewhere: %d %s", code, body)
	}
	if code, _ := ask(&s2, `"`); code != http.StatusBadRequest {
		t.Errorf("garbage: %d", code)
	}
}

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "https://192.0.2.1:6443", "host": "https://host:6443", "https://host/": "https://host:6443",
		"host:1": "https://host:1", "https://[::1]:2": "https://[::1]:2",
		"http://host": "", "": "", "https://host/path": "", "https://": "", "ftp://x": "", "a b": "",
	} {
		if got, err := enroll.URL(in); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}
