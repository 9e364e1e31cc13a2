package client_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/pki"
)

var (
	log        = slog.New(slog.DiscardHandler)
	configMaps = corev1.SchemeGroupVersion.WithResource("configmaps")
)

// cluster is an authority with servers of its own.
type cluster struct {
	authority *pki.Authority
	user      pki.Identity
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := a.Issue(pki.Subject{User: "u"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{a, pki.Identity{Pair: pair, AuthorityPEM: a.CertPEM}}
}

func (c *cluster) tls(t *testing.T) *tls.Config {
	t.Helper()
	pair, err := c.authority.Issue(pki.Subject{User: "s", Groups: []string{pki.ServersGroup}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config, err := pki.Identity{Pair: pair, AuthorityPEM: c.authority.CertPEM}.ServerTLS()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func (c *cluster) serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.EnableHTTP2 = c.tls(t), true
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	s.StartTLS()
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s
}

func (c *cluster) client(t *testing.T, urls ...string) *client.Client {
	t.Helper()
	config, err := c.user.ClientTLS()
	if err != nil {
		t.Fatal(err)
	}
	cl, err := client.New(urls, config, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// dead is a URL at which nobody listens.
func dead(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "https://" + l.Addr().String()
}

// frozen accepts connections, as the kernel does for a process that is stopped, and says nothing.
func frozen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "https://" + l.Addr().String()
}

func status(w http.ResponseWriter, code int, reason string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","status":"Failure","reason":%q,"message":"said so","code":%d}`, reason, code)
}

func TestFailover(t *testing.T) {
	c := newCluster(t)
	var calls atomic.Int32
	good := c.serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.WriteString(w, `{}`)
	})
	busy := c.serve(t, func(w http.ResponseWriter, _ *http.Request) { status(w, 503, "ServiceUnavailable") })
	for name, first := range map[string]string{"dead": dead(t), "frozen": frozen(t), "unavailable": busy.URL} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			calls.Store(0)
			cl := c.client(t, first, good.URL)
			for range 2 {
				if err := cl.Do(t.Context(), client.Request{Method: method, Path: "/x", Body: []byte("{}")}, nil); err != nil {
					t.Errorf("%s %s: %v", name, method, err)
				}
			}
			if n := calls.Load(); n != 2 {
				t.Errorf("%s %s: carried out %d times", name, method, n)
			}
		}
	}
	cl := c.client(t, dead(t), dead(t))
	if err := cl.Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/x"}, nil); err == nil || strings.Count(err.Error(), "refused") != 2 {
		t.Errorf("all dead: %v", err)
	}
}

// A write that a server may have carried out before it broke off is not sent to another.
func TestWritesAreNotRepeated(t *testing.T) {
	c := newCluster(t)
	var writes, reads atomic.Int32
	count := func(r *http.Request) {
		if r.Method == http.MethodGet {
			reads.Add(1)
		} else {
			writes.Add(1)
		}
	}
	breaks := c.serve(t, func(_ http.ResponseWriter, r *http.Request) {
		count(r)
		panic(http.ErrAbortHandler)
	})
	good := c.serve(t, func(w http.ResponseWriter, r *http.Request) { count(r); _, _ = io.WriteString(w, `{}`) })
	if err := c.client(t, breaks.URL, good.URL).Do(t.Context(), client.Request{Method: http.MethodPost, Path: "/x", Body: []byte("{}")}, nil); err == nil {
		t.Error("the write succeeded")
	}
	if err := c.client(t, breaks.URL, good.URL).Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/x"}, nil); err != nil {
		t.Errorf("the read: %v", err)
	}
	if writes.Load() != 1 || reads.Load() != 2 {
		t.Errorf("%d writes, %d reads", writes.Load(), reads.Load())
	}
}

func TestErrors(t *testing.T) {
	c := newCluster(t)
	s := c.serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/conflict":
			status(w, 409, "Conflict")
		case "/plain":
			http.Error(w, "plain words", 500)
		case "/moved":
			http.Redirect(w, r, "/ok", http.StatusTemporaryRedirect)
		case "/garbage":
			_, _ = io.WriteString(w, `{"kind":`)
		default:
			_, _ = io.WriteString(w, `{}`)
		}
	})
	cl := c.client(t, s.URL)
	for path, want := range map[string]func(error) bool{
		"/conflict": apierrors.IsConflict,
		"/plain":    func(err error) bool { return strings.Contains(err.Error(), "plain words") },
		"/moved":    func(err error) bool { return err != nil },
		"/garbage":  func(err error) bool { return strings.Contains(err.Error(), "not what was asked for") },
	} {
		if err := cl.Do(t.Context(), client.Request{Method: http.MethodGet, Path: path}, &struct{}{}); err == nil || !want(err) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := client.New(nil, nil, ""); err == nil {
		t.Error("a client of no server")
	}
}

func TestSetServers(t *testing.T) {
	c := newCluster(t)
	var last atomic.Value
	serve := func(name string) string {
		return c.serve(t, func(w http.ResponseWriter, _ *http.Request) { last.Store(name); _, _ = io.WriteString(w, `{}`) }).URL
	}
	a, b := serve("a"), serve("b")
	gone := dead(t)
	cl := c.client(t, gone, a)
	ask := func(want string) {
		t.Helper()
		if err := cl.Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/x"}, nil); err != nil || last.Load() != want {
			t.Errorf("asked %v, not %s: %v", last.Load(), want, err)
		}
	}
	ask("a")
	cl.SetServers([]string{b + "/", a, gone}) // it keeps to the one that answered
	ask("a")
	cl.SetServers(nil)
	ask("a")
	cl.SetServers([]string{b})
	ask("b")
	if got := cl.Servers(); len(got) != 1 || got[0] != b {
		t.Errorf("servers %q", got)
	}
}

func TestPath(t *testing.T) {
	for want, got := range map[string]string{
		"/api/v1/configmaps":                        client.Path(configMaps, "", "", ""),
		"/api/v1/namespaces/a/configmaps/b":         client.Path(configMaps, "a", "b", ""),
		"/api/v1/namespaces/a/configmaps/b/status":  client.Path(configMaps, "a", "b", "status"),
		"/api/v1/namespaces/../configmaps/..":       client.Path(configMaps, "..", "..", ""),
		"/api/v1/namespaces/a%2Fb/configmaps/c%3Fd": client.Path(configMaps, "a/b", "c?d", ""),
		"/apis/apps/v1/deployments/x":               client.Path(appsv1.SchemeGroupVersion.WithResource("deployments"), "", "x", ""),
	} {
		if got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}

func TestKubeconfig(t *testing.T) {
	c := newCluster(t)
	s := c.serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"user":%q}`, r.TLS.VerifiedChains[0][0].Subject.CommonName)
	})
	path := filepath.Join(t.TempDir(), "new", "config")
	if err := c.user.SaveKubeconfig(path, s.URL, `odd: "name"`); err != nil {
		t.Fatal(err)
	}
	cl, err := client.FromKubeconfig(path, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var who struct{ User string }
	if err := cl.Do(t.Context(), client.Request{Method: http.MethodGet, Path: "/"}, &who); err != nil || who.User != "u" {
		t.Errorf("%+v, %v", who, err)
	}
	if err := c.user.SaveKubeconfig(path, "http://plain", "u"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.FromKubeconfig(path, "test"); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("a server without TLS: %v", err)
	}
}

// blackhole passes connections on until it is shut; then it swallows everything and keeps them open.
func blackhole(t *testing.T, to string) (url string, shut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var closed atomic.Bool
	var mu sync.Mutex
	var conns []net.Conn
	var wg sync.WaitGroup
	pass := func(dst, src net.Conn) {
		buf := make([]byte, 32<<10)
		for {
			n, err := src.Read(buf)
			if err != nil {
				return
			}
			if !closed.Load() {
				_, _ = dst.Write(buf[:n])
			}
		}
	}
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, in, out)
			mu.Unlock()
			wg.Go(func() { pass(in, out) })
			wg.Go(func() { pass(out, in) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "https://" + l.Addr().String(), func() { closed.Store(true) }
}

func TestSilentServerIsNoticed(t *testing.T) {
	c := newCluster(t)
	s := c.serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	url, shut := blackhole(t, s.Listener.Addr().String())
	body, err := c.client(t, url).Stream(context.Background(), client.Request{Method: http.MethodGet, Path: "/x"})
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	shut()
	if _, err := io.ReadAll(body); err == nil || errors.Is(err, io.EOF) { // hangs without pings
		t.Errorf("the stream ended with %v", err)
	}
}
