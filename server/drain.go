package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// handoverTimeout bounds how long a server that stops tries to hand leadership over before it stops serving.
	handoverTimeout = 2 * time.Second
	// farewell is how long a server that stops goes on serving the connections that it has, so that each client learns
	// with an answer that it must go elsewhere. A connection that was closed under a request would leave the client in
	// doubt about its write.
	farewell = 500 * time.Millisecond
)

// drain counts the writes under way, so that a server can stop without cutting one off.
type drain struct {
	next    http.Handler
	leaving atomic.Bool // tell clients to go elsewhere

	mu   sync.Mutex
	busy int           // guarded by mu
	idle chan struct{} // guarded by mu; closed once nothing is under way, nil if nobody waits
}

// ServeHTTP counts what changes something. Watches and streams end when they are told to, and reads are repeated.
func (d *drain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.leaving.Load() {
		w.Header().Set("Connection", "close") // over HTTP/2 it becomes GOAWAY
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Header.Get("Upgrade") != "" {
		d.next.ServeHTTP(w, r)
		return
	}
	d.count(1)
	defer d.count(-1)
	d.next.ServeHTTP(w, r)
}

func (d *drain) count(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy += n
	if d.busy == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}

// wait returns when nothing is under way, or when ctx ends.
func (d *drain) wait(ctx context.Context) {
	d.mu.Lock()
	if d.busy == 0 {
		d.mu.Unlock()
		return
	}
	if d.idle == nil {
		d.idle = make(chan struct{})
	}
	idle := d.idle
	d.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// web is the API's HTTP server with what it takes to stop it.
type web struct {
	http.Server
	writes *drain
	cut    context.CancelFunc // ends the requests that are under way
}

// newWeb makes the HTTP server of the API. Its requests outlive the server's own context: see shut.
func (s *server) newWeb(handler http.Handler) *web {
	requests, cut := context.WithCancel(context.Background())
	w := &web{writes: &drain{next: handler}, cut: cut}
	w.Server = http.Server{
		Handler: w.writes, TLSConfig: s.listener.TLS(), BaseContext: func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	return w
}

// leave tells clients to go elsewhere, for as long as it takes those that are at work to hear of it. The port is closed
// by then.
func (w *web) leave() {
	w.writes.leaving.Store(true)
	time.Sleep(farewell)
}

// shut stops serving. No connection is accepted any more; the writes that are under way get their answers, and what is
// left are watches and streams, which are cut.
func (w *web) shut() {
	ctx, done := context.WithTimeout(context.Background(), shutdownTimeout)
	defer done()
	stopped := make(chan error, 1)
	go func() { stopped <- w.Shutdown(ctx) }()
	w.writes.wait(ctx)
	w.cut()
	if err := <-stopped; err != nil {
		_ = w.Close() // streams that did not end in time are cut
	}
}

// takeLeave gives leadership away while this server still serves: what reaches it meanwhile goes on to the next leader.
// Then it sends its clients elsewhere.
func (s *server) takeLeave(w *web) {
	ctx, cancel := context.WithTimeout(context.Background(), handoverTimeout)
	defer cancel()
	if err := s.node.Abdicate(ctx); err != nil {
		s.Log.Warn("leadership was not handed over", "error", err)
	}
	if err := s.listener.Refuse(); err != nil {
		s.Log.Warn("the port could not be closed", "error", err)
	}
	w.leave()
}

// serving is the outcome of a server's parts: the first error, but not that it was told to stop.
func serving(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
