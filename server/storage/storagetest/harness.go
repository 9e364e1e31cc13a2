package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/storage"
)

// What the stores under test are made with.
const (
	// EventLog is how many events of each resource they keep: more than a test writes, unless it wants them gone.
	EventLog = 512
	// BookmarkEvery is short, so that tests need not wait.
	BookmarkEvery = 5 * time.Millisecond
)

// patience bounds waits that must end; nothing says how fast.
const patience = time.Minute

var registry = kinds.Builtin()

// NewState makes the state of one server.
func NewState() *fsm.Store { return fsm.New(registry.Schema(), EventLog) }

// Harness is a store under test.
type Harness struct {
	// Write takes the writes, Read is what is held to the contract. Other is another server of the same cluster, or Read
	// once more if there is none.
	Write, Read, Other *storage.Store
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test.run(&room{T: t, Harness: h, ctx: ctx, namespace: strings.ReplaceAll(t.Name(), "/", ".")})
		})
	}
}

var tests = []struct {
	name string
	run  func(*room)
}{
	{"preconditions", testPreconditions},
	{"a conflict fails its own op only", testBatch},
	{"every server reads every write", testReadsSeeWrites},
	{"owner index", testOwners},
	{"encodings are made once", testEncodings},
	{"selectors", testSelectors},
	{"pages are of one revision", testPages},
	{"resource versions of a get", testGetVersions},
	{"resource versions of a list", testListVersions},
	{"a revision of the future", testFuture},
	{"options that contradict", testBadOptions},
	{"history that is gone", testExpired},
	{"watch from a revision", testWatchFrom},
	{"watch of a selection", testWatchSelection},
	{"deleted", testDeleted},
	{"initial events", testInitialEvents},
	{"starts of a watch", testStarts},
	{"bookmarks", testBookmarks},
	{"bookmarks of a quiet selection", testQuietBookmarks},
	{"a slow watcher is cut", testSlowWatcher},
	{"reads are never older than events", testMonotonic},
	{"resume on another server", testResume},
	{"exactly once and in order", testExactlyOnce},
}

// room is where one test runs: a namespace of its own.
type room struct {
	*testing.T
	Harness
	ctx       context.Context // ends the test when what it waits for does not come
	namespace string
}

// scope is the test's own ConfigMaps, pods its Pods.
func (r *room) scope() storage.Scope { return r.of("configmaps") }
func (r *room) pods() storage.Scope  { return r.of("pods") }

func (r *room) of(resource string) storage.Scope {
	kind := registry.ByResource(schema.GroupVersionResource{Version: "v1", Resource: resource})
	return storage.Scope{Kind: kind, Namespace: r.namespace}
}

func (r *room) key(name string) fsm.Key { return r.scope().Kind.Key(r.namespace, name) }

// configMap is an object of the test, with labels "key=value" and its value as data.
func (r *room) configMap(name, value string, label ...string) *corev1.ConfigMap {
	set, err := labels.ConvertSelectorToLabelsMap(strings.Join(label, ","))
	if err != nil {
		r.Fatal(err)
	}
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name, Labels: set},
		Data:       map[string]string{"value": value},
	}
}

// op makes a write of v, whose kind the registry knows.
func (r *room) op(verb fsm.Verb, v fsm.Value) fsm.Op {
	r.Helper()
	kind := registry.Of(v)
	op := fsm.Op{Verb: verb, Resource: kind.GroupResource().String(), Namespace: v.GetNamespace(), Name: v.GetName()}
	if verb == fsm.Delete {
		return op
	}
	var err error
	if op.Raw, err = kind.Encode(v); err != nil {
		r.Fatal(err)
	}
	return op
}

func (r *room) propose(ops ...fsm.Op) []fsm.Result {
	r.Helper()
	results, err := r.Write.Propose(r.ctx, ops)
	if err != nil || len(results) != len(ops) {
		r.Fatalf("propose: %d results for %d ops, %v", len(results), len(ops), err)
	}
	return results
}

// must proposes one op and returns what it made.
func (r *room) must(op fsm.Op) *fsm.Object {
	r.Helper()
	res := r.propose(op)[0]
	if res.Err != nil {
		r.Fatalf("%s: %v", op.Key(), res.Err)
	}
	return res.Object
}

func (r *room) create(name, value string, label ...string) *fsm.Object {
	r.Helper()
	return r.must(r.op(fsm.Create, r.configMap(name, value, label...)))
}

func (r *room) update(name, value string, label ...string) *fsm.Object {
	r.Helper()
	return r.must(r.op(fsm.Update, r.configMap(name, value, label...)))
}

func (r *room) delete(name string) *fsm.Object {
	r.Helper()
	return r.must(r.op(fsm.Delete, r.configMap(name, "")))
}

// newest is the revision of everything that was written so far.
func (r *room) newest() uint64 {
	r.Helper()
	return r.list(r.Read, storage.ListOptions{}).Revision
}

func (r *room) list(s *storage.Store, o storage.ListOptions) storage.Page {
	r.Helper()
	page, err := s.List(r.ctx, r.scope(), o)
	if err != nil {
		r.Fatalf("list %+v: %v", o, err)
	}
	return page
}

// watch starts a watch of the test's ConfigMaps.
func (r *room) watch(s *storage.Store, o storage.ListOptions) *watch {
	r.Helper()
	w, err := s.Watch(r.ctx, r.scope(), o)
	if err != nil {
		r.Fatalf("watch %+v: %v", o, err)
	}
	return &watch{room: r, Watcher: w}
}

// watch is a watch whose events are taken one by one.
type watch struct {
	*room
	*storage.Watcher
	ahead []storage.Event
}

func (w *watch) next() storage.Event {
	w.Helper()
	for len(w.ahead) == 0 {
		var err error
		if w.ahead, err = w.Next(w.ctx); err != nil {
			w.Fatalf("the watch ended: %v", err)
		}
		if len(w.ahead) == 0 {
			w.Fatal("Next returned nothing")
		}
	}
	e := w.ahead[0]
	w.ahead = w.ahead[1:]
	return e
}

// want takes the next events and compares them as spell spells them.
func (w *watch) want(events ...string) {
	w.Helper()
	for _, want := range events {
		if got := spell(w.next()); got != want {
			w.Fatalf("got %q, want %q", got, want)
		}
	}
}

// idle checks that nothing is there to be taken.
func (w *watch) idle() {
	w.Helper()
	if len(w.ahead) > 0 {
		w.Fatalf("more events: %v", w.ahead)
	}
	ended, cancel := context.WithCancel(w.ctx)
	cancel()
	if events, err := w.Next(ended); !errors.Is(err, context.Canceled) {
		w.Fatalf("more events: %v, %v", events, err)
	}
}

func spell(e storage.Event) string {
	if e.Type == storage.Bookmark {
		return fmt.Sprintf("%s @%d", e.Type, e.Revision)
	}
	return fmt.Sprintf("%s %s @%d", e.Type, content(e.Object), e.Revision)
}

func did(t fsm.EventType, o *fsm.Object) string {
	return spell(storage.Event{Type: t, Object: o, Revision: o.Revision})
}

func content(o *fsm.Object) string {
	return o.Name + "=" + o.Value.(*corev1.ConfigMap).Data["value"]
}

// contents spells objects in their order.
func contents(objects []*fsm.Object) string {
	var all []string
	for _, o := range objects {
		all = append(all, content(o))
	}
	return strings.Join(all, " ")
}

func names(objects []*fsm.Object) []string {
	var all []string
	for _, o := range objects {
		all = append(all, o.Name)
	}
	return all
}

func rv(revision uint64) string { return fmt.Sprint(revision) }

// selecting makes options of selectors.
func (r *room) selecting(label, field string) storage.ListOptions {
	r.Helper()
	l, err := labels.Parse(label)
	if err != nil {
		r.Fatal(err)
	}
	f, err := fields.ParseSelector(field)
	if err != nil {
		r.Fatal(err)
	}
	return storage.ListOptions{LabelSelector: l, FieldSelector: f}
}

// servers are the stores that reads go to.
func (r *room) servers() []*storage.Store {
	return slices.Compact([]*storage.Store{r.Read, r.Other})
}

// is reports whether err is of type E.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}
