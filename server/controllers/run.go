package controllers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/holt-project/holt/fsm"
)

const (
	// The pause before a key is tried again after a failed write grows from the first to the second.
	minBackoff = 50 * time.Millisecond
	maxBackoff = 30 * time.Second
	// conflictsAtOnce is how many conflicts in a row are answered with a new plan at once. A plan that conflicts
	// with every view contradicts itself, and must not keep the leader busy.
	conflictsAtOnce = 5
)

// Writer carries out changes, each for itself, in order. It returns one error for each change.
type Writer interface {
	Write(ctx context.Context, source string, changes []Change) []error
}

// Run runs the controller over the store until ctx ends.
func Run(ctx context.Context, c Controller, store *fsm.Store, w Writer, log *slog.Logger) {
	l := &loop{Controller: c, store: store, writer: w, log: log.With("controller", c.Name)}
	l.sweep()
	for ctx.Err() == nil {
		l.take()
		l.step(ctx)
		l.wait(ctx)
	}
}

// loop is the state of one running controller. One goroutine uses it.
type loop struct {
	Controller
	store  *fsm.Store
	writer Writer
	log    *slog.Logger

	watches  map[string]*fsm.Watch // nil where the state was replaced during a sweep
	dirty    map[fsm.Key]bool      // to be planned now
	timers   timers                // to be planned later
	failures map[fsm.Key]int       // in a row
	seen     uint64
	woken    <-chan struct{}
}

// sweep marks everything as dirty and watches from there on.
func (l *loop) sweep() {
	v := l.store.View()
	l.watches, l.dirty, l.timers, l.failures = map[string]*fsm.Watch{}, map[fsm.Key]bool{}, timers{}, map[fsm.Key]int{}
	l.listen()
	for resource := range l.Watches {
		w, err := l.store.Watch(resource, "", v.Revision())
		if err != nil {
			l.log.Warn("the state was replaced during a sweep; the next one follows", "error", err)
		}
		l.watches[resource] = w
	}
	l.markAll(v)
}

func (l *loop) listen() {
	if l.Wake != nil {
		l.woken = l.Wake()
	}
}

func (l *loop) markAll(v fsm.View) {
	for resource, keys := range l.Watches {
		for o := range v.List(resource, "") {
			l.mark(keys(v, o))
		}
	}
}

func (l *loop) mark(keys []fsm.Key) {
	for _, k := range keys {
		l.dirty[k] = true
	}
}

// take marks what has changed since it was called last.
func (l *loop) take() {
	l.seen = l.store.View().Revision()
	for resource, keys := range l.Watches {
		events, err := l.poll(resource)
		if err != nil {
			l.sweep()
			return
		}
		v := l.store.View()
		for _, e := range events {
			l.mark(keys(v, e.Object))
			if e.Prev != nil {
				l.mark(keys(v, e.Prev))
			}
		}
	}
	select {
	case <-l.woken:
		l.listen()
		l.markAll(l.store.View())
	default:
	}
}

func (l *loop) poll(resource string) ([]fsm.Event, error) {
	w := l.watches[resource]
	if w == nil {
		return nil, fsm.ErrCompacted
	}
	return w.Poll()
}

// step plans all keys that are due on one view and writes the changes in one batch.
func (l *loop) step(ctx context.Context) {
	v, now := l.store.View(), time.Now()
	l.mark(l.timers.due(now))
	planned := l.dirty
	l.dirty = map[fsm.Key]bool{}
	var changes []Change
	var keys []fsm.Key // of changes
	for k := range planned {
		p := l.Plan(v, k, now)
		l.timers.set(k, p.again(now))
		for _, ch := range p.Changes {
			changes, keys = append(changes, ch), append(keys, k)
		}
	}
	failed := map[fsm.Key]error{}
	if len(changes) > 0 {
		for i, err := range l.writer.Write(ctx, l.Name, changes) {
			failed[keys[i]] = graver(failed[keys[i]], err)
		}
	}
	for k := range planned {
		if ctx.Err() == nil {
			l.settle(k, failed[k], now)
		}
	}
}

// settle counts what became of a key's changes. After a failure the key is planned again: at once if the view was
// older than an object, later otherwise.
func (l *loop) settle(k fsm.Key, err error, now time.Time) {
	if err == nil {
		delete(l.failures, k)
		return
	}
	l.failures[k]++
	n := l.failures[k]
	if outdated(err) && n <= conflictsAtOnce {
		l.dirty[k] = true
		return
	}
	pause := min(minBackoff<<min(n, 10), maxBackoff)
	l.log.Warn("a change failed; it is tried again", "key", k.String(), "in", pause, "error", err)
	if at, any := l.timers.at[k]; !any || now.Add(pause).Before(at) {
		l.timers.set(k, now.Add(pause))
	}
}

// graver returns the error that decides how a key is tried again.
func graver(a, b error) error {
	if a == nil || (outdated(a) && b != nil) {
		return b
	}
	return a
}

// outdated reports whether a change failed because its plan was made from an old view.
func outdated(err error) bool {
	return errors.Is(err, fsm.ErrConflict) || errors.Is(err, fsm.ErrNotFound) || errors.Is(err, fsm.ErrExists)
}

// wait returns when something may be due.
func (l *loop) wait(ctx context.Context) {
	if len(l.dirty) > 0 {
		return
	}
	var listener sync.WaitGroup
	defer listener.Wait() // after cancel, which ends it
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.woken != nil {
		listener.Go(func() {
			select {
			case <-l.woken:
				cancel()
			case <-ctx.Done():
			}
		})
	}
	until := ctx
	if at, any := l.timers.next(); any {
		var stop context.CancelFunc
		until, stop = context.WithDeadline(ctx, at)
		defer stop()
	}
	resources := make([]string, 0, len(l.Watches))
	for r := range l.Watches {
		resources = append(resources, r)
	}
	_ = l.store.WaitChange(until, l.seen, resources...) // whatever ended it, the caller looks at everything
}
