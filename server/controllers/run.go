package controllers

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holt-project/holt/fsm"
)

// The pause before a key is tried again after a failed write grows from the first to the second.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 30 * time.Second
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

// loop is the state of one running controller.
type loop struct {
	Controller
	store  *fsm.Store
	writer Writer
	log    *slog.Logger

	watches  map[string]*fsm.Watch
	due      map[fsm.Key]time.Time // dirty keys, and from when on they may be planned
	failures map[fsm.Key]int
	seen     uint64
	woken    <-chan struct{}
}

// sweep marks everything as dirty and watches from there on.
func (l *loop) sweep() {
	v := l.store.View()
	l.watches, l.due, l.failures = map[string]*fsm.Watch{}, map[fsm.Key]time.Time{}, map[fsm.Key]int{}
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
		l.due[k] = time.Time{}
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
	var changes []Change
	var keys []fsm.Key // of changes
	for k, at := range l.due {
		if at.After(now) {
			continue
		}
		delete(l.due, k)
		p := l.Plan(v, k, now)
		if !p.Again.IsZero() {
			l.due[k] = p.Again
		}
		for _, ch := range p.Changes {
			changes, keys = append(changes, ch), append(keys, k)
		}
		if len(p.Changes) == 0 {
			delete(l.failures, k)
		}
	}
	if len(changes) == 0 {
		return
	}
	for i, err := range l.writer.Write(ctx, l.Name, changes) {
		if err != nil && ctx.Err() == nil {
			l.retry(keys[i], err, now)
		}
	}
}

// retry plans a key again: at once after a conflict, since the view was older than the object, later otherwise.
func (l *loop) retry(k fsm.Key, err error, now time.Time) {
	if errors.Is(err, fsm.ErrConflict) || errors.Is(err, fsm.ErrNotFound) {
		l.due[k] = time.Time{}
		return
	}
	l.failures[k]++
	pause := min(minBackoff<<min(l.failures[k], 10), maxBackoff)
	l.log.Warn("a change failed; it is tried again", "key", k.String(), "in", pause, "error", err)
	l.due[k] = now.Add(pause)
}

// wait returns when something may be due.
func (l *loop) wait(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if at, any := l.next(); any {
		ctx, cancel = context.WithDeadline(ctx, at)
		defer cancel()
	}
	if l.woken != nil {
		stop := make(chan struct{})
		defer close(stop)
		go func() { // ends with wait: stop is closed on return
			select {
			case <-l.woken:
				cancel()
			case <-stop:
			}
		}()
	}
	resources := make([]string, 0, len(l.Watches))
	for r := range l.Watches {
		resources = append(resources, r)
	}
	_ = l.store.WaitChange(ctx, l.seen, resources...) // whatever ended it, the caller looks at everything
}

func (l *loop) next() (time.Time, bool) {
	var first time.Time
	for _, at := range l.due {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first, len(l.due) > 0
}
