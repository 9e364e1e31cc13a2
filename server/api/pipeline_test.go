package api_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/auth"
)

func TestOpenPaths(t *testing.T) {
	c := newCluster(t)
	c.authz.forbid = func(auth.Attributes) bool { return true }
	for path, want := range map[string]string{"/healthz": "ok", "/livez": "ok", "/readyz": "ok",
		"/readyz?verbose": "[+]ping ok\n[+]leader ok\nreadyz check passed\n"} {
		if a := c.must("GET", path, "", 200, "Test-User", "nobody"); string(a.body) != want {
			t.Errorf("%s: %q", path, a.body)
		}
	}
	var v struct{ GitVersion, Major, Minor string }
	c.must("GET", "/version", "", 200, "Test-User", "nobody").decode(t, &v)
	if v.GitVersion != "v1.37.2+holt" || v.Major != "1" || v.Minor != "37" {
		t.Errorf("%+v", v)
	}
	c.must("POST", "/healthz", "", 405)
	c.log.set(func(l *log) { l.name, l.self = "", false })
	if a := c.must("GET", "/readyz", "", 500); !strings.Contains(string(a.body), "[-]leader failed") {
		t.Errorf("%s", a.body)
	}
	c.must("GET", "/livez", "", 200)
}

func TestUnauthenticatedAndForbidden(t *testing.T) {
	c := newCluster(t)
	if s := c.must("GET", configMaps, "", 401, "Test-User", "nobody").status(t); s.Reason != metav1.StatusReasonUnauthorized {
		t.Errorf("%+v", s)
	}
	c.must("GET", configMaps, "", 403, "Impersonate-User", "root")
	c.authz.forbid = func(auth.Attributes) bool { return true }
	for path, want := range map[string]string{
		pods:                        `pods is forbidden: User "x" cannot list resource "pods" in API group "" in the namespace "default"`,
		pods + "/p/log":             `pods "p" is forbidden: User "x" cannot get resource "pods/log" in API group "" in the namespace "default"`,
		"/apis/apps/v1/deployments": `deployments.apps is forbidden: User "x" cannot list resource "deployments" in API group "apps" at the cluster scope`,
		"/metrics":                  `forbidden: User "x" cannot get path "/metrics"`,
	} {
		s := c.must("GET", path, "", 403, "Test-User", "x").status(t)
		if s.Message != want || s.Reason != metav1.StatusReasonForbidden {
			t.Errorf("%s: %q", path, s.Message)
		}
	}
}

// Identity headers of anyone but a server with a certificate mean nothing.
func TestIdentityHeadersAreNotBelieved(t *testing.T) {
	c := newCluster(t)
	c.must("GET", configMaps, "", 200, "Test-User", "x", "X-Remote-User", "root", "X-Remote-Group", "system:masters")
	got := c.authz.asked[len(c.authz.asked)-1].User
	if diff := cmp.Diff(auth.User{Name: "x", UID: "u1", Groups: []string{"people"}, Extra: map[string][]string{"Team/x": {"1"}}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMountedHandlers(t *testing.T) {
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) })
	}
	boom := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	c := newCluster(t, func(cfg *api.Config) {
		cfg.Discovery, cfg.OpenAPI = say("discovery"), say("openapi")
		cfg.Extra = map[string]http.Handler{"/holt/v1/": say("holt"), "/boom": boom}
	})
	for path, want := range map[string]string{"/api": "discovery", "/apis": "discovery", "/api/v1": "discovery", "/apis/apps": "discovery",
		"/apis/apps/v1": "discovery", "/openapi/v2": "openapi", "/openapi/v3/api/v1": "openapi", "/holt/v1/join": "holt"} {
		if a := c.must("GET", path, "", 200); string(a.body) != want {
			t.Errorf("%s: %q", path, a.body)
		}
	}
	if s := c.must("GET", "/boom", "", 500).status(t); !strings.Contains(s.Message, "caused an error") {
		t.Errorf("%+v", s)
	}
	c.must("GET", "/healthz", "", 200)
}

func TestErrorsOfTheConsensus(t *testing.T) {
	c := newCluster(t)
	for _, tc := range []struct {
		err    error
		code   int
		reason metav1.StatusReason
	}{
		{errors.New("lost"), 504, metav1.StatusReasonTimeout},
		{context.DeadlineExceeded, 504, metav1.StatusReasonTimeout},
		{natural{quorum: true}, 503, metav1.StatusReasonServiceUnavailable},
		{natural{load: true}, 429, metav1.StatusReasonTooManyRequests},
		{natural{large: true}, 413, metav1.StatusReasonRequestEntityTooLarge},
	} {
		c.log.set(func(l *log) { l.fail = func() error { return tc.err } })
		a := c.must("POST", configMaps+"?timeout=50ms", configMap("a", "1"), tc.code)
		s := a.status(t)
		if (tc.code == 413) != (a.header.Get("Retry-After") == "") {
			t.Errorf("%v: Retry-After %q", tc.err, a.header.Get("Retry-After"))
		}
		if s.Reason != tc.reason || (tc.code != 413 && (s.Details == nil || s.Details.RetryAfterSeconds == 0)) {
			t.Errorf("%v: %+v", tc.err, s)
		}
		if tc.code == 504 && !strings.Contains(s.Message, "outcome of the write is unknown") {
			t.Errorf("%v: %q", tc.err, s.Message)
		}
	}
	c.log.set(func(l *log) { l.fail, l.linearize = nil, func(context.Context) error { return natural{quorum: true} } })
	c.must("GET", configMaps, "", 503)
	c.must("GET", configMaps+"?resourceVersion=0", "", 200)
}

type natural struct{ quorum, load, large bool }

func (n natural) Error() string    { return "refused" }
func (n natural) NoQuorum() bool   { return n.quorum }
func (n natural) Overloaded() bool { return n.load }
func (n natural) TooLarge() bool   { return n.large }
