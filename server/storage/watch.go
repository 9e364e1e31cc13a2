package storage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"

	"github.com/holt-project/holt/fsm"
)

// Bookmark is the type of an event that promises that all up to its revision was sent.
const Bookmark fsm.EventType = "BOOKMARK"

// Event is one step of a watch.
type Event struct {
	// Type is what the change means to someone who sees only what the selectors let through.
	Type fsm.EventType
	// Object is shared and must not be changed. nil for a Bookmark.
	Object *fsm.Object
	// Revision is the change's, or the bookmark's: a watch that starts there misses nothing.
	Revision uint64
	// InitialEnd marks the bookmark behind the objects that were there at the start (KEP-3157).
	InitialEnd bool
}

// initialBatch is how many of the objects that were there at the start Next returns at once.
const initialBatch = 500

// Watcher follows the changes of a scope. It holds no goroutine and needs no closing.
type Watcher struct {
	sel    *selector
	source *fsm.Watch
	now    func() fsm.View
	// start is the state whose objects, from the key on, come first; nil once they were returned.
	start *fsm.View
	from  fsm.Key
	// marked ends them with a bookmark.
	marked bool
	// bookmarks says that the client wants to know how far it is, every so often; due is when it is told next.
	bookmarks bool
	every     time.Duration
	due       time.Time
	// sent is the newest revision that the client knows of.
	sent uint64
}

// Watch starts to follow the scope: after o.ResourceVersion, or with the objects that are there. ctx bounds the start
// only. It fails with ExpiredError if changes after the start are gone already.
func (s *Store) Watch(ctx context.Context, scope Scope, o ListOptions) (*Watcher, error) {
	o.Watch = true
	internalversion.SetListOptionsDefaults(&o, true)
	if errs := validation.ValidateListOptions(&o, true); len(errs) > 0 {
		return nil, &InvalidError{errs}
	}
	sel, err := scope.selector(o)
	if err != nil {
		return nil, err
	}
	revision, err := parseRevision(o.ResourceVersion)
	if err != nil {
		return nil, err
	}
	w := &Watcher{
		sel: sel, now: s.state.View, bookmarks: o.AllowWatchBookmarks, every: s.bookmarkEvery, due: time.Now().Add(s.bookmarkEvery),
	}
	initial := o.SendInitialEvents != nil && *o.SendInitialEvents
	if initial || revision == 0 {
		v, err := s.present(ctx, o.ResourceVersion)
		if err != nil {
			return nil, err
		}
		if revision = v.Revision(); initial {
			w.start, w.marked = &v, o.AllowWatchBookmarks
		}
	}
	w.sent = revision
	if w.source, err = s.state.Watch(sel.resource, scope.Namespace, revision); err != nil {
		return nil, w.failed(err)
	}
	return w, nil
}

// failed words what ended the watch.
func (w *Watcher) failed(err error) error {
	if !errors.Is(err, fsm.ErrCompacted) {
		return err
	}
	return &ExpiredError{message: fmt.Sprintf("too old resource version: %d (%d)", w.sent, w.now().Revision())}
}

// Next returns the next events, at least one, in order; it waits for them if need be. It fails with ExpiredError when
// the client was too slow, and with ctx's error.
func (w *Watcher) Next(ctx context.Context) ([]Event, error) {
	if w.start != nil {
		if events := w.initial(); len(events) > 0 {
			return events, nil
		}
	}
	for {
		changes, err := w.pull(ctx)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, w.failed(err)
		}
		if events := w.translate(changes); len(events) > 0 {
			return events, nil
		}
		if w.bookmarks && !time.Now().Before(w.due) {
			w.due = time.Now().Add(w.every)
			if mark, ok := w.Progress(); ok {
				return []Event{mark}, nil
			}
		}
	}
}

// Progress returns a bookmark if the client wants such and does not know yet how far the watch has come. At the end of
// a watch it spares the client a long way back when it comes again.
func (w *Watcher) Progress() (Event, bool) {
	at := w.source.Revision()
	if w.start != nil || !w.bookmarks || at <= w.sent {
		return Event{}, false
	}
	w.sent = at
	return Event{Type: Bookmark, Revision: at}, true
}

// initial returns the next of the objects that were there at the start, and behind the last one the bookmark.
func (w *Watcher) initial() []Event {
	var events []Event
	for o := range w.sel.in(*w.start, w.from) {
		if len(events) == initialBatch {
			w.from = o.Key
			return events
		}
		events = append(events, Event{Type: fsm.Added, Object: o, Revision: o.Revision})
	}
	if w.marked {
		events = append(events, Event{Type: Bookmark, Revision: w.start.Revision(), InitialEnd: true})
	}
	w.start = nil
	return events
}

// pull waits for changes, but not beyond the time of the next bookmark.
func (w *Watcher) pull(ctx context.Context) ([]fsm.Event, error) {
	if w.bookmarks {
		bounded, cancel := context.WithDeadline(ctx, w.due)
		defer cancel()
		ctx = bounded
	}
	return w.source.Next(ctx)
}

// translate leaves out what the selectors do not let through.
func (w *Watcher) translate(changes []fsm.Event) []Event {
	var events []Event
	for _, c := range changes {
		if e := w.sel.event(c); e.Type != "" {
			events = append(events, e)
			w.sent = e.Revision
		}
	}
	return events
}

// event is what a change means to someone who sees only what the selectors let through. Its type is empty if that is
// nothing.
func (s *selector) event(c fsm.Event) Event {
	is := c.Type != fsm.Deleted && s.matches(c.Object.Value)
	was := c.Prev != nil && s.matches(c.Prev.Value)
	e := Event{Object: c.Object, Revision: c.Object.Revision}
	switch {
	case is && was:
		e.Type = fsm.Modified
	case is:
		e.Type = fsm.Added
	case was:
		e.Type, e.Object = fsm.Deleted, lastSeen(c)
	}
	return e
}

// lastSeen is the object of a DELETED event, at the revision of the change that took it away. One that left the
// selection is shown as it was while it was in it.
func lastSeen(c fsm.Event) *fsm.Object {
	if c.Type == fsm.Deleted {
		return c.Object
	}
	v := c.Prev.Value.DeepCopyObject().(fsm.Value)
	v.SetResourceVersion(strconv.FormatUint(c.Object.Revision, 10))
	return &fsm.Object{Key: c.Prev.Key, Revision: c.Object.Revision, Value: v}
}
