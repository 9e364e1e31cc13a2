package api_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/api"
	"github.com/holt-project/holt/server/kinds"
)

// busy checks that a request is refused until there is room again.
func (c *cluster) busy(method, path, body, user string) {
	c.t.Helper()
	a := c.must(method, path, body, 429, "Test-User", user)
	if s := a.status(c.t); s.Reason != metav1.StatusReasonTooManyRequests || a.header.Get("Retry-After") == "" || s.Details.RetryAfterSeconds == 0 {
		c.t.Errorf("Retry-After %q: %+v", a.header.Get("Retry-After"), s)
	}
}

// hold begins n requests of a user, each of which waits until the one after the last is released.
func (c *cluster) hold(n int, user string, entered <-chan struct{}, request func(i int) (method, path, body string)) (done func(code int)) {
	c.t.Helper()
	codes := make(chan int, n)
	for i := range n {
		method, path, body := request(i)
		r := c.request(method, path, body, "Test-User", user)
		go func() {
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				c.t.Error(err)
				codes <- 0
				return
			}
			res.Body.Close()
			codes <- res.StatusCode
		}()
		<-entered
	}
	return func(code int) {
		c.t.Helper()
		for range n {
			if got := <-codes; got != code {
				c.t.Errorf("a request that was let in got %d", got)
			}
		}
	}
}

func TestRequestsUnderWay(t *testing.T) {
	c := newCluster(t, func(cfg *api.Config) { cfg.Limits = api.Limits{Reads: 4, Writes: 4} })
	entered, release := make(chan struct{}), make(chan struct{})
	waits := func(ctx context.Context) error {
		entered <- struct{}{}
		<-release
		return ctx.Err()
	}
	c.log.set(func(l *log) { l.linearize = waits })
	gets := func(int) (string, string, string) { return "GET", configMaps, "" }
	jane := c.hold(2, "jane", entered, gets)
	c.busy("GET", configMaps, "", "jane") // she has her half
	joe := c.hold(2, "joe", entered, gets)
	c.busy("GET", configMaps, "", "jill") // nothing is left
	c.busy("GET", "/api", "", "jill")
	c.must("GET", "/healthz", "", 200)
	c.must("POST", configMaps, configMap("a", "1"), 201) // writes are counted apart
	missing := func(i int) (string, string, string) { return "DELETE", configMaps + fmt.Sprint("/none-", i), "" }
	jim := c.hold(2, "jim", entered, missing)
	c.busy("DELETE", configMaps+"/none", "", "jim")
	c.log.set(func(l *log) { l.linearize = nil })
	close(release)
	jane(200)
	joe(200)
	jim(404)
	for _, user := range []string{"jane", "joe", "jill", "jim"} {
		c.must("GET", configMaps, "", 200, "Test-User", user)
		c.must("DELETE", configMaps+"/none", "", 404, "Test-User", user)
	}
}

func TestWatchesAreNotCountedAsReads(t *testing.T) {
	c := newCluster(t, func(cfg *api.Config) { cfg.Limits = api.Limits{Reads: 2} })
	for range 5 {
		res, err := http.DefaultClient.Do(c.request("GET", configMaps+"?watch=1", ""))
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res, err)
		}
		defer res.Body.Close()
	}
	c.must("GET", configMaps, "", 200)
}

// Only what clients have sent of their bodies counts, and it does until the answer.
func TestBodyBytes(t *testing.T) {
	const step = 64 << 10
	c := newCluster(t, func(cfg *api.Config) { cfg.Limits = api.Limits{BodyBytes: 32 * step} })
	big := configMap("big", strings.Repeat("x", 20*step))
	c.busy("POST", configMaps, big, "jane")
	c.must("POST", configMaps, configMap("a", "1"), 201, "Test-User", "jane")

	body, sending := io.Pipe()
	r := c.request("POST", configMaps, "", "Test-User", "jane", "Content-Type", "application/json")
	r.Body, r.ContentLength = body, 3<<20 // promises much
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if res, err := http.DefaultClient.Do(r); err == nil {
			res.Body.Close()
		}
	}()
	if _, err := sending.Write([]byte(strings.Repeat(" ", 2*step))); err != nil {
		t.Fatal(err)
	}
	fits := `{"metadata":{"name":"fits"},"data":{"k":"` + strings.Repeat("x", 10*step) + `"}}`
	c.must("POST", configMaps, fits, 201, "Test-User", "jane")
	sending.CloseWithError(io.ErrUnexpectedEOF)
	<-answered
	for range 20 { // what was counted is given back
		c.busy("POST", configMaps, big, "jane")
		c.must("PUT", configMaps+"/fits", fits, 200, "Test-User", "jane")
	}
}

// A full state takes no more, and what makes it smaller always works.
func TestFullState(t *testing.T) {
	c := newClusterOf(t, fsm.New(kinds.Builtin().Schema().Bounded(1<<20), 0))
	c.url = serve(t, newHTTP(c.handler()))
	c.must("POST", "/api/v1/namespaces", `{"metadata":{"name":"default"}}`, 201)
	large := strings.Repeat("x", 32<<10)
	body := func(i int, value string) string {
		return fmt.Sprintf(`{"metadata":{"name":"cm-%d","finalizers":["x/y"]},"data":{"k":%q}}`, i, value)
	}
	n := 0
	for c.do("POST", configMaps, body(n, large)).code == 201 {
		n++
	}
	a := c.must("POST", configMaps, body(n, large), 429)
	if s := a.status(t); a.header.Get("Retry-After") == "" || !strings.Contains(s.Message, "as large as it may be") || n < 4 {
		t.Errorf("after %d: %+v", n, s)
	}
	c.busy("PUT", configMaps+"/cm-0", body(0, large+large), "jane")
	c.must("GET", configMaps, "", 200)
	c.must("DELETE", configMaps+"/cm-0", "", 200) // marked, because of its finalizer
	c.must("PUT", configMaps+"/cm-1", body(1, "small"), 200)
	c.must("POST", configMaps, configMap("small", "1"), 201)
	c.patch("merge-patch+json", configMaps+"/cm-0", `{"metadata":{"finalizers":null}}`, 200)
	c.must("GET", configMaps+"/cm-0", "", 404)
	c.must("POST", configMaps, body(n, large), 201)
}
