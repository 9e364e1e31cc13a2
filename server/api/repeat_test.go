package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

// faulty is the leader's side of the connection, which loses attempts of writes.
type faulty struct {
	h http.Handler

	mu       sync.Mutex
	lose     int                  // so many attempts from now on; guarded by mu, like the rest
	apply    bool                 // they are carried out, and only their answers are lost
	attempts int                  // that came
	lost     []func(http.Handler) // carry out the attempts that were lost, later
	before   func(attempt int)    // called before each attempt
}

func (f *faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	f.mu.Lock()
	f.attempts++
	n, lose, before := f.attempts, f.lose > 0, f.before
	if lose {
		f.lose--
		f.lost = append(f.lost, func(h http.Handler) { h.ServeHTTP(httptest.NewRecorder(), again(r, body)) })
	}
	f.mu.Unlock()
	if before != nil {
		before(n)
	}
	if !lose {
		f.h.ServeHTTP(w, again(r, body))
		return
	}
	if f.apply {
		f.h.ServeHTTP(httptest.NewRecorder(), again(r, body))
	}
	panic(http.ErrAbortHandler)
}

// again is the request with its body, and without its connection's end.
func again(r *http.Request, body []byte) *http.Request {
	r = r.Clone(context.WithoutCancel(r.Context()))
	r.Body = io.NopCloser(bytes.NewReader(body))
	return r
}

// next sets what happens to the attempts that come.
func (f *faulty) next(lose int, apply bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lose, f.apply, f.attempts, f.lost, f.before = lose, apply, 0, nil, nil
}

func faultyPair(t *testing.T) (leader, follower *cluster, f *faulty) {
	f = &faulty{}
	leader, follower = pair(t, func(h http.Handler) http.Handler { f.h = h; return f })
	return leader, follower, f
}

// Whether the leader is lost before or after it has applied a write, the client gets the answer that it would have got,
// and the write is carried out once.
func TestWritesAreRepeated(t *testing.T) {
	grace := "/api/v1/namespaces/default/pods"
	jsonPatch, merge := "application/json-patch+json", "application/merge-patch+json"
	for _, tc := range []struct {
		name, method, path, body, contentType string
		code                                  int
		want                                  string // in the answer
	}{
		{"create", "POST", configMaps, configMap("new", "1"), "", 201, `"name":"new"`},
		{"create with a generated name", "POST", configMaps, `{"metadata":{"generateName":"gen-"}}`, "", 201, `"name":"gen-`},
		{"create what exists", "POST", configMaps, configMap("a", "1"), "", 409, "already exists"},
		{"update", "PUT", configMaps + "/a", configMap("a", "2"), "", 200, `"data":{"k":"2"}`},
		{"update at a revision", "PUT", configMaps + "/a", "RV", "", 200, `"data":{"k":"2"}`},
		{"update to the same", "PUT", configMaps + "/a", configMap("a", "1"), "", 200, `"data":{"k":"1"}`},
		{"update at an old revision", "PUT", configMaps + "/a", `{"metadata":{"name":"a","resourceVersion":"1"}}`, "", 409, "modified"},
		{"patch that fits once", "PATCH", configMaps + "/a", `[{"op":"move","from":"/data/k","path":"/data/l"}]`, jsonPatch, 200, `"data":{"l":"1"}`},
		{"patch that does not fit", "PATCH", configMaps + "/a", `[{"op":"test","path":"/data/k","value":"9"}]`, jsonPatch, 422, ""},
		{"patch of the status", "PATCH", grace + "/p/status", `{"status":{"message":"hm"}}`, merge, 200, `"message":"hm"`},
		{"delete", "DELETE", configMaps + "/a", "", "", 200, `"status":"Success"`},
		{"delete what is not there", "DELETE", configMaps + "/none", "", "", 404, "not found"},
		{"delete with grace", "DELETE", grace + "/bound", "", "", 200, `"deletionTimestamp"`},
		{"delete of a kind with grace, at once", "DELETE", grace + "/p?gracePeriodSeconds=0", "", "", 200, `"name":"p"`},
		{"binding", "POST", grace + "/p/binding", `{"target":{"kind":"Node","name":"n1"}}`, "", 201, `"Success"`},
		{"dry run", "POST", configMaps + "?dryRun=All", configMap("dry", "1"), "", 201, `"name":"dry"`},
		{"collection", "DELETE", configMaps, "", "", 200, "List"},
	} {
		for _, applied := range []bool{false, true} {
			name := tc.name + ", not applied"
			if applied {
				name = tc.name + ", applied"
			}
			t.Run(name, func(t *testing.T) {
				_, follower, f := faultyPair(t)
				a := follower.configMap(follower.must("POST", configMaps, configMap("a", "1"), 201))
				follower.must("POST", grace, podBody("p", ""), 201)
				follower.must("POST", grace, podBody("bound", `"nodeName":"n1",`), 201)
				before := follower.store.View().Revision()
				body := strings.Replace(tc.body, "RV", `{"metadata":{"name":"a","resourceVersion":"`+a.ResourceVersion+`"},"data":{"k":"2"}}`, 1)
				var headers []string
				if tc.contentType != "" {
					headers = []string{"Content-Type", tc.contentType}
				}
				f.next(2, applied)
				got := follower.must(tc.method, tc.path, body, tc.code, headers...)
				if !strings.Contains(string(got.body), tc.want) || f.attempts < 3 {
					t.Errorf("%d attempts: %s", f.attempts, got.body)
				}
				if changes := follower.store.View().Revision() - before; changes > 1 {
					t.Errorf("%d changes", changes)
				}
				// The attempts that were lost come at last, when others have used the time.
				follower.do("PUT", configMaps+"/a", configMap("a", "other"))
				follower.do("POST", configMaps, configMap("none", "1"))
				before = follower.store.View().Revision()
				for _, late := range f.lost {
					late(f.h)
				}
				if after := follower.store.View().Revision(); after != before && tc.name != "collection" {
					t.Errorf("an attempt that was given up has changed the state %d times", after-before)
				}
			})
		}
	}
}

// A leader that cannot tell what became of its proposal finds out, too.
func TestLeaderRepeatsItsOwnWrites(t *testing.T) {
	for _, after := range []bool{false, true} {
		c := newCluster(t)
		c.must("POST", configMaps, configMap("a", "1"), 201)
		fails := 0
		lose := func(n int) {
			c.log.set(func(l *log) {
				fails = n
				l.after = after
				l.fail = func() error {
					if fails--; fails >= 0 {
						return errors.New("leadership lost while committing log")
					}
					return nil
				}
			})
		}
		lose(1)
		c.must("POST", configMaps, configMap("b", "1"), 201)
		lose(2)
		c.patch("json-patch+json", configMaps+"/a", `[{"op":"move","from":"/data/k","path":"/data/l"}]`, 200)
		lose(1)
		c.must("DELETE", configMaps+"/a", "", 200)
		lose(1)
		c.must("DELETE", configMaps+"/a", "", 404)
		if got := c.store.View().Revision(); got != 5 { // namespace, two creates, patch, delete
			t.Errorf("%d changes", got)
		}
	}
}

// An attempt that was refused is answered only after no other can be applied. If that answer is lost, the write begins
// anew.
func TestRefusalIsLost(t *testing.T) {
	_, follower, f := faultyPair(t)
	f.next(3, false)
	f.before = func(attempt int) {
		switch attempt {
		case 2: // its refusal is lost: the write is void then
			f.apply = true
		case 3:
			f.apply = false
		}
	}
	follower.must("DELETE", configMaps+"/none", "", 404)
	f.next(2, true)
	f.before = func(attempt int) {
		if attempt == 1 {
			f.apply = false
		} else {
			f.apply = true
		}
	}
	follower.must("POST", configMaps, configMap("a", "1"), 201)
	follower.must("GET", configMaps+"/a", "", 200)
}

// A leader that answers nobody leaves the outcome open: the client is told so, whatever it wanted.
func TestUnknownOutcomeOfAForwardedWrite(t *testing.T) {
	_, follower, f := faultyPair(t)
	for _, apply := range []bool{true, false} {
		for _, tc := range [][3]string{{"POST", "", configMap("a", "1")}, {"PUT", "/a", configMap("a", "2")}, {"DELETE", "/a", ""}} {
			f.next(1<<30, apply)
			s := follower.must(tc[0], configMaps+tc[1]+"?timeout=200ms", tc[2], 504).status(t)
			if s.Reason != metav1.StatusReasonTimeout || !strings.Contains(s.Message, "outcome of the write is unknown") || f.attempts < 2 {
				t.Errorf("%d attempts: %+v", f.attempts, s)
			}
		}
	}
}

// flood makes the log forget what was asked before.
func flood(t *testing.T, c *cluster) {
	t.Helper()
	for i := 0; i <= fsm.MaxOutcomes; i += 1024 {
		var ops []fsm.Op
		for j := range 1024 {
			op := fsm.Op{Verb: fsm.Void, Request: fsm.Request{Since: c.store.View().Index()}}
			op.Request.ID = fsm.RequestID{byte(i >> 16), byte(i >> 8), byte(j >> 8), byte(j), byte(c.store.View().Index())}
			ops = append(ops, op)
		}
		if _, err := c.log.Propose(t.Context(), ops); err != nil {
			t.Error(err)
		}
	}
}

// When the log has forgotten the request, a write of which no attempt was lost begins anew, and any other has an unknown
// outcome.
func TestForgottenRequests(t *testing.T) {
	leader, follower, f := faultyPair(t)
	f.next(0, false)
	f.before = func(attempt int) {
		if attempt == 1 {
			flood(t, leader)
		}
	}
	follower.must("POST", configMaps, configMap("a", "1"), 201)
	if f.attempts != 2 {
		t.Errorf("%d attempts", f.attempts)
	}
	f.next(1, false)
	f.before = func(attempt int) {
		if attempt == 2 {
			flood(t, leader)
		}
	}
	s := follower.must("POST", configMaps, configMap("b", "1"), 504).status(t)
	if !strings.Contains(s.Message, "outcome of the write is unknown") || f.attempts != 2 {
		t.Errorf("%d attempts: %+v", f.attempts, s)
	}
	follower.must("GET", configMaps+"/b", "", 404)
}

// The header between servers is nobody else's business, and is read strictly.
func TestAttemptHeader(t *testing.T) {
	leader, follower, _ := faultyPair(t)
	id := strings.Repeat("ab", 16)
	for range 2 { // a client's own header means nothing: else the second would be the first
		leader.must("POST", configMaps, `{"metadata":{"generateName":"x-"}}`, 201, "X-Holt-Attempt", id+" 1 false")
	}
	server := follower.cfg.Forward
	for _, h := range []string{"x", id + " 1", id + "ab 1 false", "zz" + id[2:] + " 1 false", id + " -1 false", id + " 1 maybe"} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://"+follower.log.address+configMaps, strings.NewReader(configMap("a", "1")))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Remote-User", "jane")
		r.Header.Set("X-Holt-Attempt", h)
		res, err := server.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %d", h, res.StatusCode)
		}
	}
}
