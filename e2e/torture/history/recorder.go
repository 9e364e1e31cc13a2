package history

import (
	"sync"
	"time"
)

// Recorder collects a history while it happens.
type Recorder struct {
	begin time.Time

	mu    sync.Mutex // guards what follows
	calls []Call
	runs  []Run
	lives map[string]int
}

// NewRecorder begins a history now.
func NewRecorder() *Recorder { return &Recorder{begin: time.Now(), lives: map[string]int{}} }

// Now is the time since the history's begin.
func (r *Recorder) Now() time.Duration { return time.Since(r.begin) }

// Started notes that a server is about to be started again.
func (r *Recorder) Started(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lives[server]++
}

// Begin completes a call that is about to be sent.
func (r *Recorder) Begin(c *Call) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Life = r.lives[c.Server]
	c.Begin = r.Now()
}

// End records a call that was answered, or given up.
func (r *Recorder) End(c Call) {
	c.End = r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lives[c.Server] != c.Life {
		c.Life = -1
	}
	r.calls = append(r.calls, c)
}

// Ran records a watcher's run that has ended.
func (r *Recorder) Ran(run Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs = append(r.runs, run)
}

// Count tells how many calls have been recorded.
func (r *Recorder) Count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.calls)
}

// History returns what was recorded. Nothing may be recorded after that.
func (r *Recorder) History() *History {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &History{Calls: r.calls, Runs: r.runs}
}
