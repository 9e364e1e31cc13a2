package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/e2e/torture/history"
	"github.com/holt-project/holt/e2e/torture/load"
	"github.com/holt-project/holt/internal/client"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// enough is how many calls are recorded before a load is stopped: every verb that writes is among them.
const enough = 60

// start loads one server.
func start(t *testing.T, url string) (*load.Load, *history.Recorder) {
	t.Helper()
	c, err := client.New([]string{url}, nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	recorder := history.NewRecorder()
	return load.Start(t.Context(), 1, 1, map[string]*client.Client{"server-1": c}, recorder), recorder
}

// stop joins a load whose watchers have nothing to come to.
func stop(t *testing.T, l *load.Load) {
	t.Helper()
	l.StopCalls()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	l.Finish(over, 1<<40)
}

// record loads one server until it says that it is enough, and returns what was recorded.
func record(t *testing.T, url string, done <-chan struct{}) *history.History {
	t.Helper()
	l, recorder := start(t, url)
	<-done
	stop(t, l)
	return recorder.History()
}

// answering serves one answer to every request, and tells when enough have come.
func answering(t *testing.T, answer http.HandlerFunc) (url string, done <-chan struct{}) {
	t.Helper()
	closed := make(chan struct{})
	var calls atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("watch") == "" && calls.Add(1) == enough {
			close(closed)
		}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, closed
}

func refusing(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Code: int32(code)})
	}
}

// What a client knows after each kind of answer, of a write.
func TestOutcomes(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   history.Outcome
	}{
		"404":               {refusing(404), history.NotFound},
		"429":               {refusing(429), history.Failed},
		"500":               {refusing(500), history.Unknown},
		"503":               {refusing(503), history.Failed},
		"504":               {refusing(504), history.Unknown},
		"connection broken": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, history.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, done := answering(t, c.answer)
			h := record(t, url, done)
			verbs := map[string]int{}
			for _, call := range h.Calls {
				if !call.Writes() {
					continue
				}
				verbs[call.Verb]++
				if call.Outcome != c.want {
					t.Errorf("%s is %q after %s", call.Verb, call.Outcome, call.Error)
				}
			}
			if len(verbs) != 4 {
				t.Errorf("verbs: %v", verbs)
			}
		})
	}
}

// A conflict says something of the object only where there was a precondition, or a create.
func TestConflicts(t *testing.T) {
	url, done := answering(t, refusing(409))
	for _, call := range record(t, url, done).Calls {
		want := history.Failed
		switch {
		case call.Verb == history.Create:
			want = history.Exists
		case call.IfRevision != 0 || call.IfUID != "":
			want = history.Conflict
		}
		if call.Writes() && call.Outcome != want {
			t.Errorf("%+v", call)
		}
	}
}

// A request that never reached a server has certainly not taken effect.
func TestUnreachable(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	l, recorder := start(t, s.URL)
	if err := harness.Await(t.Context(), "a call has failed", func(context.Context) error {
		if recorder.Count() == 0 {
			return errors.New("there is none")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	stop(t, l)
	for _, call := range recorder.History().Calls {
		if call.Outcome != history.Failed {
			t.Errorf("%+v", call)
		}
	}
}
