package api

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

// Kubernetes ends watches after half an hour to an hour, spread so that clients do not all come back at once.
const (
	minWatch      = 30 * time.Minute
	maxWatchParam = 24 * time.Hour
)

// watches serves watch requests.
type watches struct {
	reader        *reader
	out           *responder
	timeout       requestTimeout // of the wait for the first state
	bookmarkEvery time.Duration
}

// watcher is one watch request while it streams. It belongs to one goroutine.
type watcher struct {
	*watches
	r      *request
	sel    selection
	frames *frameWriter
	watch  *fsm.Watch
	// bookmarks says that the client wants to know how far it is.
	bookmarks bool
	// sent is the newest revision that the client knows of.
	sent uint64
}

// serve streams changes until the client leaves, time is up, or the watch fell too far behind.
func (ws *watches) serve(w http.ResponseWriter, r *request) {
	sel, err := r.selection(r.query.Get("labelSelector"), r.query.Get("fieldSelector"))
	if err != nil {
		ws.out.fail(w, r.http, err)
		return
	}
	a, err := negotiate(r.http.Header.Get("Accept"), false, true)
	if err != nil {
		ws.out.fail(w, r.http, err)
		return
	}
	until, err := watchTimeout(r.query.Get("timeoutSeconds"))
	if err != nil {
		ws.out.fail(w, r.http, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.http.Context(), until)
	defer cancel()
	start, err := ws.start(ctx, r)
	if err != nil {
		ws.out.fail(w, r.http, err)
		return
	}
	wt := &watcher{watches: ws, r: r, sel: sel, bookmarks: isTrue(r.query.Get("allowWatchBookmarks"))}
	wt.frames = newFrameWriter(ws.out, w, r, a)
	defer wt.frames.close()
	wt.run(ctx, start)
}

func watchTimeout(v string) (time.Duration, error) {
	if v == "" || v == "0" {
		return minWatch + rand.N(minWatch), nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 {
		return 0, badRequest("timeoutSeconds %q must be a non-negative number", v)
	}
	return min(time.Duration(min(n, int64(maxWatchParam/time.Second)))*time.Second, maxWatchParam), nil
}

// watchStart is where a watch begins: at a revision, or with the objects of a view.
type watchStart struct {
	revision uint64
	view     *fsm.View
	// marked ends the view's objects with the annotated bookmark (KEP-3157).
	marked bool
}

func (ws *watches) start(ctx context.Context, r *request) (watchStart, error) {
	rv := r.query.Get("resourceVersion")
	rev, set, err := parseRevision(rv)
	if err != nil {
		return watchStart{}, err
	}
	initial := isTrue(r.query.Get("sendInitialEvents"))
	match := metav1.ResourceVersionMatch(r.query.Get("resourceVersionMatch"))
	switch {
	case r.query.Has("sendInitialEvents") && match != metav1.ResourceVersionMatchNotOlderThan:
		return watchStart{}, badRequest("sendInitialEvents requires resourceVersionMatch to be NotOlderThan")
	case !r.query.Has("sendInitialEvents") && match != "":
		return watchStart{}, badRequest("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
	case set && rev > 0 && !initial:
		return watchStart{revision: rev}, nil
	}
	bounded, cancel := context.WithTimeout(ctx, time.Duration(ws.timeout))
	defer cancel()
	v, err := ws.reader.view(bounded, rv)
	if err != nil {
		return watchStart{}, err
	}
	if r.query.Has("sendInitialEvents") && !initial { // the newest state, without its objects
		return watchStart{revision: v.Revision()}, nil
	}
	return watchStart{revision: v.Revision(), view: &v, marked: initial}, nil
}

// run sends the start and then every change.
func (w *watcher) run(ctx context.Context, start watchStart) {
	var err error
	if w.watch, err = w.reader.store.Watch(w.r.resource().String(), w.sel.namespace, start.revision); err != nil {
		w.end(err, start.revision)
		return
	}
	w.sent = start.revision
	if start.view != nil {
		err = w.initial(*start.view, start.marked)
	} else {
		err = w.frames.flush() // the headers tell the client that it watches
	}
	for err == nil {
		err = w.next(ctx)
	}
	if errors.Is(err, fsm.ErrCompacted) {
		w.end(err, w.sent)
	}
}

// end tells the client why its watch, which has come to revision, cannot go on.
func (w *watcher) end(err error, revision uint64) {
	if errors.Is(err, fsm.ErrCompacted) {
		err = errExpired("too old resource version: %d (%d)", revision, w.reader.store.View().Revision())
	}
	w.frames.end(err)
}

func (w *watcher) initial(v fsm.View, marked bool) error {
	for o := range w.sel.in(v, nil) {
		if err := w.frames.object(fsm.Added, o); err != nil {
			return err
		}
	}
	if marked && w.bookmarks {
		if err := w.frames.bookmark(v.Revision(), true); err != nil {
			return err
		}
	}
	return w.frames.flush()
}

// errWatchDone ends a watch whose time is up or whose client has left.
var errWatchDone = errors.New("the watch is over")

// next waits for changes or for the time of a bookmark, and sends them.
func (w *watcher) next(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, w.bookmarkEvery)
	defer cancel()
	events, err := w.watch.Next(bounded)
	switch {
	case errors.Is(err, fsm.ErrCompacted):
		return err
	case ctx.Err() != nil:
		if err := w.progress(); err != nil { // spares the client a long way back when it comes again
			return err
		}
		return errWatchDone
	case err != nil:
		return w.progress()
	}
	for _, e := range events {
		if err := w.event(e); err != nil {
			return err
		}
	}
	return w.frames.flush()
}

// progress sends a bookmark if the client does not know how far it is.
func (w *watcher) progress() error {
	at := w.watch.Revision()
	if !w.bookmarks || at <= w.sent {
		return nil
	}
	w.sent = at
	if err := w.frames.bookmark(at, false); err != nil {
		return err
	}
	return w.frames.flush()
}

// event sends what the change means to someone who sees only what the selectors let through.
func (w *watcher) event(e fsm.Event) error {
	is := e.Type != fsm.Deleted && w.sel.matches(e.Object.Value)
	was := e.Prev != nil && w.sel.matches(e.Prev.Value)
	switch {
	case is && was:
		w.sent = e.Object.Revision
		return w.frames.object(fsm.Modified, e.Object)
	case is:
		w.sent = e.Object.Revision
		return w.frames.object(fsm.Added, e.Object)
	case was:
		w.sent = e.Object.Revision
		return w.frames.object(fsm.Deleted, lastSeen(e))
	}
	return nil
}

// lastSeen is the object of a DELETED event, at the revision of the change that took it away. One that left the
// selection is shown as it was while it was in it.
func lastSeen(e fsm.Event) *fsm.Object {
	if e.Type == fsm.Deleted {
		return e.Object
	}
	v := e.Prev.Value.DeepCopyObject().(fsm.Value)
	v.SetResourceVersion(strconv.FormatUint(e.Object.Revision, 10))
	return &fsm.Object{Key: e.Prev.Key, Revision: e.Object.Revision, Value: v}
}
