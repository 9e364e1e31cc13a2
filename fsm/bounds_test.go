package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

func large(namespace, name string, bytes int) object {
	return cm(namespace, name, strings.Repeat("x", bytes))
}

// The events of all resources share one bound; those of the one that has most go first.
func TestEventsAreBoundedInBytes(t *testing.T) {
	s := fsm.New(schema(), 0, fsm.EventBytes(1<<20))
	quiet := object{resource: "others.example.com", name: "q"}
	apply(t, s, create(quiet), create(cm("x", "a", "")))
	slow := watch(t, s, "", 2)
	for i := range 200 { // each keeps the 40 KB of the one before alive
		w := watch(t, s, "", s.View().Revision())
		apply(t, s, update(large("x", "a", 10<<10+i)))
		take(t, w, 1)
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("slow watcher: %v", err)
	}
	recent := s.View().Revision() - 10
	take(t, watch(t, s, "", recent), 10)
	if _, err := s.Watch("others.example.com", "", 0); err != nil {
		t.Errorf("a quiet resource's events went for a busy one's: %v", err)
	}
	apply(t, s, remove(cm("x", "a", "")), create(large("x", "a", 2<<20)), remove(cm("x", "a", ""))) // none of it fits
	w := watch(t, s, "", s.View().Revision())
	apply(t, s, create(cm("x", "b", "")))
	take(t, w, 1)
}

func TestFullState(t *testing.T) {
	const bound = 1 << 20
	full := fsm.New(schema().Bounded(bound), 0)
	var names []object
	for i := 0; ; i++ {
		o := large("ns", fmt.Sprint(i), 8<<10)
		if r := apply(t, full, create(o))[0]; r.Err != nil {
			if !errors.Is(r.Err, fsm.ErrFull) || i < 10 {
				t.Fatalf("object %d: %v", i, r.Err)
			}
			break
		}
		names = append(names, o)
	}
	full = func() *fsm.Store { // the bound holds after a restore, too
		s := fsm.New(schema().Bounded(bound), 0)
		if err := s.Restore(bytes.NewReader(snapshot(t, full))); err != nil {
			t.Fatal(err)
		}
		return s
	}()
	if r := apply(t, full, update(large("ns", "0", 64<<10)))[0]; !errors.Is(r.Err, fsm.ErrFull) {
		t.Errorf("an update that grows: %v", r.Err)
	}
	marked := func(o object) fsm.Op {
		op := update(o)
		c := &corev1.ConfigMap{}
		if err := c.Unmarshal(op.Raw); err != nil {
			t.Fatal(err)
		}
		c.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
		op.Raw, _ = c.Marshal()
		return op
	}
	for name, op := range map[string]fsm.Op{
		"the same size": update(cm("ns", "0", strings.Repeat("y", 8<<10))), "smaller": update(cm("ns", "1", "")),
		"marked for deletion": marked(names[2]), "deleted": remove(names[3]),
	} {
		if r := apply(t, full, op)[0]; r.Err != nil {
			t.Errorf("%s: %v", name, r.Err)
		}
	}
	if r := apply(t, full, create(large("ns", "new", 8<<10)))[0]; r.Err != nil {
		t.Errorf("there is room again: %v", r.Err)
	}
	if r := apply(t, full, marked(large("ns", "4", bound)))[0]; !errors.Is(r.Err, fsm.ErrFull) {
		t.Errorf("what is on its way out may not grow without end: %v", r.Err)
	}
}

// counting encodes to size bytes and counts how often.
func counting(calls *atomic.Int64, size int) func(fsm.Value) ([]byte, error) {
	return func(fsm.Value) ([]byte, error) { calls.Add(1); return make([]byte, size), nil }
}

func TestEncodingsAreBounded(t *testing.T) {
	const size, count, room = 10 << 10, 100, 20
	s := fsm.New(schema(), 0, fsm.EncodingBytes(room*(size+512)))
	var objects []*fsm.Object
	for i := range count {
		objects = append(objects, apply(t, s, create(cm("x", fmt.Sprint(i), "")))[0].Object)
	}
	var calls atomic.Int64
	read := func(o *fsm.Object) {
		t.Helper()
		if data, err := o.Encoded(counting(&calls, size)); len(data) != size || err != nil {
			t.Fatal(len(data), err)
		}
	}
	read(objects[0])
	for range 3 {
		for _, o := range objects[1:] {
			read(o)
			read(objects[0]) // used all the time, and so kept
		}
	}
	kept := calls.Load()
	read(objects[0])
	if calls.Load() != kept {
		t.Error("what was used last is dropped")
	}
	if kept < 3*(count-1-room) {
		t.Errorf("encoded %d times: more is kept than there is room for", kept)
	}
	if kept > 3*count+room {
		t.Errorf("encoded %d times: what was used is dropped", kept)
	}
}

// An object that nobody can come by any more keeps no encoding, however much room there is.
func TestEncodingsOfWhatIsGone(t *testing.T) {
	s := fsm.New(schema(), 2)
	old := apply(t, s, create(cm("x", "a", "")))[0].Object
	var calls atomic.Int64
	for range 2 {
		if _, err := old.Encoded(counting(&calls, 1)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		apply(t, s, update(cm("x", "a", fmt.Sprint(i))))
	}
	if _, err := old.Encoded(counting(&calls, 1)); err != nil || calls.Load() != 2 {
		t.Errorf("encoded %d times, %v", calls.Load(), err)
	}
	if err := s.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
		t.Fatal(err)
	}
	if _, err := old.Encoded(counting(&calls, 1)); err != nil || calls.Load() != 3 {
		t.Errorf("encoded %d times, %v", calls.Load(), err)
	}
}

// TestEncodersTogether is for the race detector: readers of few objects in a cache that holds fewer, while they change.
func TestEncodersTogether(t *testing.T) {
	s := fsm.New(schema(), 2, fsm.EncodingBytes(3<<10))
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for o := range s.View().All() {
					data, err := o.Encoded(func(v fsm.Value) ([]byte, error) {
						return []byte(v.GetResourceVersion() + strings.Repeat(" ", 512)), nil
					})
					if err != nil || !strings.HasPrefix(string(data), fmt.Sprint(o.Revision)+" ") {
						t.Errorf("revision %d: %q, %v", o.Revision, data, err)
					}
				}
			}
		})
	}
	for i := range 10 {
		apply(t, s, create(cm("x", fmt.Sprint(i), "")))
	}
	for i := range 500 {
		apply(t, s, update(cm("x", fmt.Sprint(i%10), fmt.Sprint(i))))
	}
	close(stop)
	wg.Wait()
}

// An object may be as large as an entry of the log, and a snapshot much larger.
func TestSnapshotOfLargeObjects(t *testing.T) {
	s := newStore()
	for i := range 10 {
		apply(t, s, create(large("ns", fmt.Sprint(i), 3<<20)))
	}
	if got := restore(t, s).View(); got.Digest() != s.View().Digest() {
		t.Error(got.Digest())
	}
}
