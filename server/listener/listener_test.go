package listener_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holt-project/holt/internal/pki"
	"github.com/holt-project/holt/server/listener"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type world struct {
	t         *testing.T
	authority *pki.Authority
}

func newWorld(t *testing.T) world {
	t.Helper()
	a, err := pki.NewAuthority(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return world{t, a}
}

func (w world) tls(groups ...string) (server, client *tls.Config) {
	w.t.Helper()
	pair, err := w.authority.Issue(pki.Subject{User: "x", Groups: groups, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	id := pki.Identity{Pair: pair, AuthorityPEM: w.authority.CertPEM}
	if server, err = id.ServerTLS(); err == nil {
		client, err = id.PeerTLS()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return server, client
}

func trusted(c tls.ConnectionState) bool {
	return len(c.PeerCertificates) > 0 && slices.Contains(c.PeerCertificates[0].Subject.Organization, pki.ServersGroup)
}

func (w world) open(groups ...string) *listener.Listener {
	w.t.Helper()
	server, client := w.tls(groups...)
	l, err := listener.Open("127.0.0.1:0", server, client, trusted, slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestBothSides(t *testing.T) {
	w := newWorld(t)
	a, b := w.open(pki.ServersGroup), w.open(pki.ServersGroup)
	address := a.API().Addr().String()
	web := &http.Server{TLSConfig: a.TLS(), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, r.Proto)
	})}
	served := make(chan error, 1)
	go func() { served <- web.Serve(a.API()) }()

	var silent []net.Conn // more than one address may have under way
	for range 80 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	defer func() {
		for _, c := range silent {
			_ = c.Close()
		}
	}()
	// Another address is served all the same.
	_, config := w.tls("nobody")
	dial := func(ctx context.Context, network, to string) (net.Conn, error) {
		return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(ctx, network, to)
	}
	for want, h2 := range map[string]bool{"HTTP/2.0": true, "HTTP/1.1": false} {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: h2, DialContext: dial}}
		resp, err := client.Get("https://" + address)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(body) != want {
			t.Errorf("%s, not %s", body, want)
		}
		client.CloseIdleConnections()
	}
	for _, c := range silent {
		_ = c.Close()
	}
	silent = nil

	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := a.Streams().Accept()
		if err == nil {
			accepted <- c
		}
	}()
	out := eventually(t, func() (net.Conn, error) { return b.Streams().Dial(address, 10*time.Second) })
	defer out.Close()
	in := <-accepted
	defer in.Close()
	if _, err := out.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(in, got); err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if err := web.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

// eventually tries until it works: the port may still be busy with those that hung up.
func eventually(t *testing.T, try func() (net.Conn, error)) net.Conn {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		c, err := try()
		if err == nil {
			return c
		}
		<-tick.C
	}
	t.Fatal("it never worked")
	return nil
}

func TestStrangersGetNoStream(t *testing.T) {
	w := newWorld(t)
	l := w.open(pki.ServersGroup)
	address := l.API().Addr().String()
	_, agent := w.tls("system:nodes")
	nobody := agent.Clone()
	nobody.Certificates = nil
	for name, config := range map[string]*tls.Config{"an agent": agent, "nobody": nobody} {
		config = config.Clone()
		config.NextProtos = []string{listener.Protocol}
		c, err := tls.Dial("tcp", address, config)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if err == nil {
			t.Errorf("%s was heard", name)
		}
	}
	odd := agent.Clone()
	odd.NextProtos = []string{"holt-odd/9"}
	if c, err := tls.Dial("tcp", address, odd); err == nil {
		_ = c.Close()
		t.Error("an unknown protocol was accepted")
	}
	// A peer that is not a server is not spoken to either.
	if c, err := l.Streams().Dial(w.open("system:nodes").API().Addr().String(), 10*time.Second); err == nil {
		_ = c.Close()
		t.Error("an agent was taken for a server")
	}
}

func TestPortInUse(t *testing.T) {
	w := newWorld(t)
	l := w.open(pki.ServersGroup)
	server, client := w.tls(pki.ServersGroup)
	if _, err := listener.Open(l.API().Addr().String(), server, client, trusted, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("one port was opened twice")
	}
}

// Close must not wait for a handshake that never ends, and must end both sides.
func TestClose(t *testing.T) {
	w := newWorld(t)
	l := w.open(pki.ServersGroup)
	c, err := net.Dial("tcp", l.API().Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended := make(chan error, 2)
	go func() { _, err := l.API().Accept(); ended <- err }()
	go func() { _, err := l.Streams().Accept(); ended <- err }()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a silent connection outlived the port")
	}
}
