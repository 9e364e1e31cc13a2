package client_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/internal/client"
)

func object(name, revision string) string {
	return fmt.Sprintf(`{"metadata":{"namespace":"default","name":%q,"resourceVersion":%q}}`, name, revision)
}

func list(revision string, names ...string) string {
	var items []string
	for _, n := range names {
		items = append(items, object(n, "1"))
	}
	return fmt.Sprintf(`{"kind":"ConfigMapList","metadata":{"resourceVersion":%q},"items":[%s]}`, revision, strings.Join(items, ","))
}

func event(kind, obj string) string { return fmt.Sprintf(`{"type":%q,"object":%s}`+"\n", kind, obj) }

// step is what the server answers to one request: to a list, or to a watch from the revision. A watch ends after its
// text, and the last one hangs.
type step struct{ from, answer string }

// play answers requests in the order of steps, and fails the test if one is not as it should be.
func play(t *testing.T, c *cluster, steps ...step) (*client.Cache[corev1.ConfigMap, *corev1.ConfigMap], func()) {
	t.Helper()
	requests := make(chan step)
	done := make(chan struct{})
	s := c.serve(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case st := <-requests:
			if got := r.URL.Query().Get("resourceVersion"); got != st.from || r.URL.Query().Has("watch") != (st.from != "") {
				t.Errorf("asked %q; want it from %q", r.URL.RawQuery, st.from)
			}
			if code, rest, ok := strings.Cut(st.answer, "!"); ok && len(code) == 3 {
				var n int
				_, _ = fmt.Sscan(code, &n)
				status(w, n, rest)
				return
			}
			_, _ = w.Write([]byte(st.answer))
		case <-done: // all steps were taken
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case <-r.Context().Done():
		}
	})
	cache := client.NewCache[corev1.ConfigMap](c.client(t, s.URL), configMaps, "", func() {}, log)
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { cache.Run(ctx); close(ran) }()
	stop := func() { cancel(); <-ran }
	t.Cleanup(stop)
	for _, st := range steps {
		requests <- st
	}
	return cache, func() {
		t.Helper()
		// The next request shows that the last answer was taken in.
		requests <- step{from: lastFrom(steps), answer: ""}
		close(done)
	}
}

// lastFrom is given by the last step's name in the tests below: what the cache must ask for afterwards.
func lastFrom(steps []step) string {
	last := steps[len(steps)-1]
	at := strings.LastIndex(last.answer, `"resourceVersion":"`)
	if at < 0 || strings.Contains(last.answer, "!") {
		return last.from
	}
	rev, _, _ := strings.Cut(last.answer[at+len(`"resourceVersion":"`):], `"`)
	return rev
}

func names(c *client.Cache[corev1.ConfigMap, *corev1.ConfigMap]) []string {
	var all []string
	for _, o := range c.List() {
		all = append(all, o.Name+"@"+o.ResourceVersion)
	}
	slices.Sort(all)
	return all
}

func TestCache(t *testing.T) {
	expired := event("ERROR", `{"kind":"Status","status":"Failure","reason":"Expired","code":410}`)
	for name, c := range map[string]struct {
		steps []step
		want  string
	}{
		"events": {[]step{{"", list("5", "a", "b")},
			{"5", event("ADDED", object("c", "6")) + event("MODIFIED", object("a", "7")) + event("DELETED", object("b", "8"))}}, "a@7 c@6"},
		"a broken watch goes on":  {[]step{{"", list("5", "a")}, {"5", event("ADDED", object("b", "6"))}, {"6", event("ADDED", object("c", "7"))}}, "a@1 b@6 c@7"},
		"bookmarks move it on":    {[]step{{"", list("5", "a")}, {"5", event("BOOKMARK", `{"metadata":{"resourceVersion":"9"}}`)}}, "a@1"},
		"an error is resumed":     {[]step{{"", list("5", "a")}, {"5", "500!InternalError"}, {"5", "504!Timeout"}}, "a@1"},
		"expired as it begins":    {[]step{{"", list("5", "a", "b")}, {"5", "410!Expired"}, {"", `{"metadata":{},"items":[` + object("a", "9") + `],"metadata":{"resourceVersion":"10"}}`}}, "a@9"},
		"expired as it goes":      {[]step{{"", list("5", "a", "b")}, {"5", expired}, {"", `{"items":[],"metadata":{"resourceVersion":"10"}}`}}, ""},
		"a server that is behind": {[]step{{"", list("5", "a")}, {"5", event("ADDED", object("b", "9"))}, {"9", expired}, {"", list("7", "a")}, {"", `{"items":[` + object("z", "9") + `],"metadata":{"resourceVersion":"9"}}`}}, "z@9"},
		"a list that is none":     {[]step{{"", "{}"}, {"", "[]"}, {"", "x"}, {"", `{"items":[null],"metadata":{"resourceVersion":"9"}}`}, {"", `{"items":[],"metadata":{"resourceVersion":"5"}}`}}, ""},
		"events that are none":    {[]step{{"", list("5", "a")}, {"5", event("ADDED", `null`)}, {"5", event("ADDED", `{"metadata":{}}`)}, {"5", event("ODD", object("b", "6"))}, {"5", "garbage"}, {"5", event("ERROR", `"x"`)}, {"5", `{"type":`}}, "a@1"},
		"a line without an end":   {[]step{{"", list("5", "a")}, {"5", `{"type":"` + strings.Repeat("x", 17<<20)}}, "a@1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache, settle := play(t, newCluster(t), c.steps...)
			settle()
			<-cache.Synced()
			if got := strings.Join(names(cache), " "); got != c.want {
				t.Errorf("the cache holds %q, not %q", got, c.want)
			}
			if o := cache.Get("default", "nobody"); o != nil {
				t.Errorf("nobody is %v", o)
			}
		})
	}
}
