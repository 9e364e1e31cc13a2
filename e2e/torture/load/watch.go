package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/e2e/torture/history"
	"github.com/holt-project/holt/internal/client"
)

// kindOfWatcher says what a watcher asks for.
type kindOfWatcher struct {
	name  string
	scope history.Scope
	// initial asks for the state in the watch itself, instead of a list before.
	initial bool
	// past begins every run at some revision that the watcher has seen before.
	past bool
}

// kindsOfWatchers are the watchers that begin at each server.
var kindsOfWatchers = []kindOfWatcher{
	{name: "listing"},
	{name: "initial", initial: true},
	{name: "half a", scope: history.Scope{Half: "a"}},
	{name: "half b", scope: history.Scope{Half: "b"}, initial: true},
	{name: "past", past: true},
}

// Bounds of one connection of a watcher, in seconds: the server ends it, with a bookmark.
const (
	shortestWatch = 2
	longestWatch  = 15
	// slack is how much longer than that a watcher waits for a server that is silent.
	slack = 5 * time.Second
	// keptPast is how many connections ago a watcher of the past may begin: each is told all changes since.
	keptPast = 8
)

// watcher is one client that watches. It belongs to one goroutine.
type watcher struct {
	load   *Load
	kind   kindOfWatcher
	name   string
	server string
	random *rand.Rand
	run    *history.Run // nil until the watcher knows a state
	// seen are the last revisions that it has come to.
	seen []uint64
}

// loop watches until the watcher has come to the end, which is known after the last call, or ctx ends.
func (w *watcher) loop(ctx context.Context) {
	// The namespace was empty then, which is as good as a list.
	w.run = w.begin(w.load.start, nil)
	for ctx.Err() == nil && !w.arrived() {
		err := w.connect(ctx)
		if errors.Is(err, errExpired) {
			w.endRun()
		}
		if w.kind.past && w.run != nil && w.load.end.Load() == 0 {
			w.seen = append(w.seen, w.run.Reached)
			w.seen = w.seen[max(0, len(w.seen)-keptPast):]
			w.endRun()
		}
		if err != nil {
			pause(ctx, failurePause)
		}
		if w.random.IntN(2) == 0 {
			w.server = w.load.servers[w.random.IntN(len(w.load.servers))]
		}
	}
	w.endRun()
}

func (w *watcher) arrived() bool {
	end := w.load.end.Load()
	return end != 0 && w.run != nil && w.run.Reached >= end
}

func (w *watcher) begin(revision uint64, initial []history.Object) *history.Run {
	return &history.Run{Watcher: w.name, Scope: w.kind.scope, Start: revision, Reached: revision, Initial: initial}
}

func (w *watcher) endRun() {
	if w.run != nil {
		w.load.recorder.Ran(*w.run)
	}
	w.run = nil
}

// errExpired says that the server does not know any more what came after the watcher's revision.
var errExpired = errors.New("too old a revision")

// connect carries out one watch, and finds a state to begin at before if the watcher has none.
func (w *watcher) connect(ctx context.Context) error {
	seconds := shortestWatch + w.random.IntN(longestWatch-shortestWatch)
	if w.load.end.Load() != 0 {
		seconds = 1
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds)*time.Second+slack)
	defer cancel()
	query := selectors(w.kind.scope)
	query.Set("watch", "true")
	query.Set("allowWatchBookmarks", "true")
	query.Set("timeoutSeconds", strconv.Itoa(seconds))
	switch {
	case w.run != nil:
	case w.kind.past:
		w.run = w.begin(w.someRevision(), nil)
		w.run.Blind = true
	case w.kind.initial:
		query.Set("sendInitialEvents", "true")
		query.Set("resourceVersionMatch", string(metav1.ResourceVersionMatchNotOlderThan))
		return w.stream(ctx, query, nil)
	default:
		if err := w.list(ctx); err != nil {
			return err
		}
	}
	query.Set("resourceVersion", strconv.FormatUint(w.run.Reached, 10))
	return w.stream(ctx, query, w.run)
}

// someRevision is one that the watcher has come to, or the first.
func (w *watcher) someRevision() uint64 {
	if len(w.seen) == 0 {
		return w.load.start
	}
	return w.seen[w.random.IntN(len(w.seen))]
}

// list begins a run with a list, which is checked as those of the callers are.
func (w *watcher) list(ctx context.Context) error {
	c := &caller{load: w.load, server: w.server}
	call := history.Call{Verb: history.List, Scope: w.kind.scope}
	c.carryOut(ctx, &call, longestCall)
	if call.Outcome != history.Done {
		return errors.New(call.Error)
	}
	w.run = w.begin(call.Revision, call.Items)
	return nil
}

// message is one line of a watch.
type message struct {
	Type   string          `json:"type"`
	Object json.RawMessage `json:"object"`
}

// stream reads one watch to its end. Without a run it begins with the initial state, and makes the run when that is
// complete.
func (w *watcher) stream(ctx context.Context, query url.Values, run *history.Run) error {
	body, err := w.load.clients[w.server].Stream(ctx, client.Request{
		Method: http.MethodGet, Path: client.Path(resource, Namespace, "", ""), Query: query.Encode()})
	if err != nil {
		return expired(err)
	}
	defer func() { _ = body.Close() }()
	if run != nil {
		run.Connections++
	}
	var initial []history.Object
	decoder := json.NewDecoder(bufio.NewReader(body))
	for !w.arrived() {
		var m message
		if decoder.Decode(&m) != nil {
			return nil // the server has ended it, or was ended
		}
		e, complete, err := w.event(m)
		switch {
		case err != nil:
			return err
		case run != nil:
			run.Events = append(run.Events, e)
			run.Reached = max(run.Reached, e.Object.Revision)
		case complete:
			run = w.begin(e.Object.Revision, initial)
			run.Connections++
			w.run = run
		case e.Type != history.Added:
			return fmt.Errorf("%s begins with %s", w.server, e.Type)
		default:
			initial = append(initial, e.Object)
		}
	}
	return nil
}

// event reads a message. It is complete if it ends the initial state.
func (w *watcher) event(m message) (e history.Event, complete bool, err error) {
	if m.Type == "ERROR" {
		var status metav1.Status
		if err := json.Unmarshal(m.Object, &status); err != nil {
			return e, false, err
		}
		if status.Code == http.StatusGone {
			return e, false, errExpired
		}
		return e, false, errors.New(status.Message)
	}
	var object corev1.ConfigMap
	if err := json.Unmarshal(m.Object, &object); err != nil {
		return e, false, err
	}
	e = history.Event{Type: m.Type, Server: w.server, At: w.load.recorder.Now()}
	e.Object, err = seen(&object)
	return e, object.Annotations[metav1.InitialEventsAnnotationKey] == "true", err
}

func expired(err error) error {
	if status := new(statusCode); errors.As(err, status) && (*status).Status().Code == http.StatusGone {
		return errExpired
	}
	return err
}

// statusCode is an error that the server answered.
type statusCode interface{ Status() metav1.Status }
