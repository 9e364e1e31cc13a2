package api_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/auth"
)

// pair is a leader and a follower that forwards to it, on one store.
func pair(t *testing.T, wrap func(http.Handler) http.Handler) (leader, follower *cluster) {
	leader = newCluster(t)
	s := httptest.NewUnstartedServer(wrap(leader.handler()))
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	transport := s.Client().Transport.(*http.Transport).Clone()
	transport.TLSClientConfig.Certificates = s.TLS.Certificates // any certificate: byHeader takes its holder for a server
	t.Cleanup(transport.CloseIdleConnections)
	follower = newClusterOf(t, leader.store, func(cfg *api.Config) { cfg.Forward = transport })
	follower.log.name, follower.log.address, follower.log.self = "a", s.Listener.Addr().String(), false
	follower.url = serve(t, newHTTP(follower.handler()))
	return leader, follower
}

func plain(h http.Handler) http.Handler { return h }

func TestWritesAreForwarded(t *testing.T) {
	leader, follower := pair(t, plain)
	follower.must("POST", configMaps, configMap("a", "1"), 201, "Test-User", "jane")
	want := auth.User{Name: "jane", UID: "u1", Groups: []string{"people"}, Extra: map[string][]string{"team/x": {"1"}}}
	if diff := cmp.Diff(want, leader.authz.asked[len(leader.authz.asked)-1].User); diff != "" {
		t.Errorf("the leader saw another user:\n%s", diff)
	}
	follower.must("POST", configMaps, configMap("a", "1"), 409)
	follower.patch("merge-patch+json", configMaps+"/a", `{"data":{"x":"y"}}`, 200)
	if a := follower.must("POST", configMaps, `{"metadata":{"name":"b"},"x":1}`, 201); a.header.Get("Warning") == "" {
		t.Error("the warning was lost on the way")
	}
	if cm := follower.configMap(follower.must("GET", configMaps+"/a", "", 200)); cm.Data["x"] != "y" {
		t.Errorf("%+v", cm)
	}
	leader.authz.forbid = func(a auth.Attributes) bool { return a.User.Name == "mallory" }
	follower.must("DELETE", configMaps+"/a", "", 403, "Test-User", "mallory")
	follower.must("DELETE", configMaps+"/a", "", 200)
}

// A server that is not the leader after all says so, and the write goes to whoever is.
func TestWriteFollowsTheLeader(t *testing.T) {
	refusals := 0
	leader, follower := pair(t, plain)
	leader.log.set(func(l *log) {
		l.fail = func() error {
			if refusals++; refusals <= 3 {
				return notLeaderError{}
			}
			return nil
		}
	})
	follower.must("POST", configMaps, configMap("a", "1"), 201)
	if refusals != 4 {
		t.Errorf("%d attempts", refusals)
	}
	refusals = 0
	leader.must("POST", configMaps, configMap("b", "1"), 201) // its own write waits out the election, too
}

func TestWriteWithoutALeader(t *testing.T) {
	c := newCluster(t)
	c.log.set(func(l *log) { l.name, l.self = "", false })
	if s := c.must("POST", configMaps+"?timeout=50ms", configMap("a", "1"), 503).status(t); s.Reason != metav1.StatusReasonServiceUnavailable {
		t.Errorf("%+v", s)
	}
	// An address where nobody listens: certainly not sent, so tried again until the deadline.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	follower := newClusterOf(t, c.store, func(cfg *api.Config) { cfg.Forward = &http.Transport{} })
	follower.log.name, follower.log.address, follower.log.self = "a", dead, false
	follower.url = serve(t, newHTTP(follower.handler()))
	follower.must("POST", configMaps+"?timeout=50ms", configMap("a", "1"), 503)
	follower.must("GET", configMaps, "", 200)
}

// Forwarding does not go in a circle.
func TestForwardedWriteIsNotForwardedAgain(t *testing.T) {
	leader, follower := pair(t, plain)
	address, before := follower.log.address, leader.store.View().Revision()
	leader.log.set(func(l *log) { l.self, l.address = false, address })
	a := follower.do("POST", configMaps+"?timeout=50ms", configMap("a", "1"))
	// 504 if time was up while the last question to the supposed leader was under way.
	if a.code != 503 && a.code != 504 {
		t.Errorf("got %d: %s", a.code, a.body)
	}
	if n := leader.store.View().Revision(); n != before {
		t.Errorf("somebody wrote: revision %d, before %d", n, before)
	}
}
