package api

import (
	"net/http"
	"sync"
	"time"
)

// stuckAfter is how long a client may take to read before its watch is cut off.
const stuckAfter = 30 * time.Second

// stuckTimer cuts off a client that does not read. A deadline of the connection would do the same, but in HTTP/2 to
// set one costs as much as to send an event, and one that is left ends the stream though nothing waits.
type stuckTimer struct {
	timer *time.Timer

	mu      sync.Mutex
	control *http.ResponseController // guarded by mu; nil once the response is over
}

func newStuckTimer(control *http.ResponseController) *stuckTimer {
	s := &stuckTimer{control: control}
	s.timer = time.AfterFunc(stuckAfter, s.cut)
	s.timer.Stop()
	return s
}

// start begins a write, and stop ends it.
func (s *stuckTimer) start() { s.timer.Reset(stuckAfter) }

func (s *stuckTimer) stop() { s.timer.Stop() }

// cut makes the write under way fail. A writer without deadlines, as in a test, goes on.
func (s *stuckTimer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control != nil {
		_ = s.control.SetWriteDeadline(time.Now()) // if it cannot be cut off, it is stuck as it was
	}
}

// close is called before the response is over.
func (s *stuckTimer) close() {
	s.timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.control = nil
}
