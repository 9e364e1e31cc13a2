package api_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// slowReader is the response to a client that reads nothing until a deadline passes.
type slowReader struct {
	*httptest.ResponseRecorder
	stuck bool
	once  sync.Once
	past  chan struct{} // closed when a write has no more time
	calls int           // of SetWriteDeadline
}

func (r *slowReader) SetWriteDeadline(t time.Time) error {
	r.calls++
	if !t.After(time.Now()) {
		r.once.Do(func() { close(r.past) })
	}
	return nil
}

func (r *slowReader) FlushError() error {
	if !r.stuck {
		return nil
	}
	<-r.past
	return os.ErrDeadlineExceeded
}

func watchWith(t *testing.T, c *cluster, stuck bool) *slowReader {
	t.Helper()
	w := &slowReader{ResponseRecorder: httptest.NewRecorder(), stuck: stuck, past: make(chan struct{})}
	c.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, configMaps+"?watch=1&resourceVersion=0&timeoutSeconds=3600", nil))
	return w
}

// TestAClientThatDoesNotReadIsCutOff would not end if nothing cut the write off: the bubble's clock would stand still.
func TestAClientThatDoesNotReadIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if w := watchWith(t, newClusterOf(t, fsm.New(kinds.Builtin().Schema(), 0)), true); w.calls != 1 {
			t.Errorf("%d deadlines were set", w.calls)
		}
		if time.Since(begin) > time.Minute {
			t.Errorf("it was cut off after %s", time.Since(begin))
		}
	})
}

// In HTTP/2 a deadline ends the stream when it passes, whether anything waits to be written or not: a watch must not
// leave one behind while it is quiet.
func TestAQuietWatchHasNoDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		if w := watchWith(t, newClusterOf(t, fsm.New(kinds.Builtin().Schema(), 0)), false); w.calls != 0 {
			t.Errorf("%d deadlines were set", w.calls)
		}
		if time.Since(begin) < time.Hour {
			t.Errorf("the watch ended after %s", time.Since(begin))
		}
	})
}
