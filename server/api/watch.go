package api

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/holt-project/holt/server/storage"
)

// Kubernetes ends watches after half an hour to an hour, spread so that clients do not all come back at once.
const (
	minWatch      = 30 * time.Minute
	maxWatchParam = 24 * time.Hour
)

// watches serves watch requests.
type watches struct {
	store   *storage.Store
	out     *responder
	timeout requestTimeout // of the wait for the first state
}

// serve streams changes until the client leaves, time is up, or the watch fell too far behind.
func (ws *watches) serve(w http.ResponseWriter, r *request) {
	o, err := listOptions(r.query)
	if err != nil {
		ws.out.fail(w, r.http, err)
		return
	}
	a, err := negotiate(r.http.Header.Get("Accept"), false, true)
	if err != nil {
		ws.out.fail(w, r.http, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), watchTimeout(o.TimeoutSeconds))
	defer cancel()
	watcher, err := ws.start(ctx, r, o)
	if err != nil && !inStream(err) {
		ws.out.fail(w, r.http, err)
		return
	}
	frames := newFrameWriter(ws.out, w, r, a)
	defer frames.close()
	if err == nil {
		err = streamed{watcher, frames}.run(ctx)
	}
	if inStream(err) {
		frames.end(err)
	}
}

func watchTimeout(seconds *int64) time.Duration {
	if seconds == nil || *seconds <= 0 {
		return minWatch + rand.N(minWatch)
	}
	return min(time.Duration(min(*seconds, int64(maxWatchParam/time.Second)))*time.Second, maxWatchParam)
}

func (ws *watches) start(ctx context.Context, r *request, o storage.ListOptions) (*storage.Watcher, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ws.timeout))
	defer cancel()
	return ws.store.Watch(ctx, r.scope(), o)
}

// inStream reports whether clients expect to be told of the error by an event of a watch that has begun.
func inStream(err error) bool {
	var expired *storage.ExpiredError
	var tooLarge *storage.TooLargeError
	return errors.As(err, &expired) || errors.As(err, &tooLarge)
}

// streamed is one watch on its way to the client. It belongs to one goroutine.
type streamed struct {
	watcher *storage.Watcher
	frames  *frameWriter
}

// run sends what happens until something fails, or ctx ends.
func (s streamed) run(ctx context.Context) error {
	if err := s.frames.flush(); err != nil { // the headers tell the client that it watches
		return err
	}
	for {
		events, err := s.watcher.Next(ctx)
		if ctx.Err() != nil && err != nil {
			if mark, ok := s.watcher.Progress(); ok {
				return s.send(mark)
			}
			return err
		}
		if err != nil {
			return err
		}
		if err := s.send(events...); err != nil {
			return err
		}
		rest(ctx)
	}
}

// breath is the least time between two sendings of one watch. What happens alone is told at once; of a storm of changes
// several travel together, since to send one costs about as much as to send ten.
const breath = 5 * time.Millisecond

// rest waits until a watch may send again, or ctx ends.
func rest(ctx context.Context) {
	timer := time.NewTimer(breath)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (s streamed) send(events ...storage.Event) error {
	for _, e := range events {
		if err := s.frames.event(e); err != nil {
			return err
		}
	}
	return s.frames.flush()
}
