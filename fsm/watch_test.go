package fsm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/fsm"
)

func watch(t testing.TB, s *fsm.Store, namespace string, revision uint64) *fsm.Watch {
	t.Helper()
	w, err := s.Watch("configmaps", namespace, revision)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// take reads want events and spells them.
func take(t testing.TB, w *fsm.Watch, want int) []string {
	t.Helper()
	var out []string
	for len(out) < want {
		events, err := w.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			out = append(out, fmt.Sprint(e.Type, " ", e.Object.Name, " ", e.Object.Revision))
		}
	}
	return out
}

// idle checks that nothing more is there.
func idle(t testing.TB, w *fsm.Watch) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if events, err := w.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("more events: %v, %v", events, err)
	}
}

func TestWatchInOrderExactlyOnce(t *testing.T) {
	s := newStore()
	early := watch(t, s, "", 0)
	apply(t, s, create(cm("x", "a", "1")), create(cm("y", "b", "1")), create(object{resource: "others.example.com", name: "o"}))
	apply(t, s, update(cm("x", "a", "1")), update(cm("x", "a", "2")), create(cm("x", "a", "3")))
	apply(t, s, remove(cm("x", "a", "")), create(cm("x", "a", "4")))
	all := []string{"ADDED a 1", "ADDED b 2", "MODIFIED a 4", "DELETED a 5", "ADDED a 6"}
	for from, want := range map[uint64][]string{0: all, 1: all[1:], 2: all[2:], 3: all[2:], 5: all[4:]} {
		w := watch(t, s, "", from)
		if diff := cmp.Diff(want, take(t, w, len(want))); diff != "" {
			t.Errorf("from %d: %s", from, diff)
		}
		idle(t, w)
	}
	if diff := cmp.Diff(all, take(t, early, len(all))); diff != "" {
		t.Error(diff)
	}
	y := watch(t, s, "y", 0)
	if diff := cmp.Diff([]string{"ADDED b 2"}, take(t, y, 1)); diff != "" {
		t.Error(diff)
	}
	if y.Revision() != 6 {
		t.Errorf("bookmark %d, want 6", y.Revision())
	}
}

func TestWatchShowsWhatWasBefore(t *testing.T) {
	s := newStore()
	w := watch(t, s, "", 0)
	apply(t, s, create(cm("x", "a", "1")), update(cm("x", "a", "2")), remove(cm("x", "a", "")))
	events, err := w.Next(t.Context())
	if err != nil || len(events) != 3 {
		t.Fatal(events, err)
	}
	if events[0].Prev != nil || events[1].Prev != events[0].Object || events[2].Prev != events[1].Object {
		t.Error("Prev is not the object before")
	}
}

func TestSlowWatcherIsCut(t *testing.T) {
	s := fsm.New(schema(), 4)
	slow, quick := watch(t, s, "", 0), watch(t, s, "", 0)
	for i := range 40 {
		apply(t, s, create(cm("x", fmt.Sprint(i), "")))
		take(t, quick, 1)
	}
	if _, err := slow.Next(t.Context()); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("slow watcher: %v", err)
	}
	if _, err := s.Watch("configmaps", "", 1); !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("watch from long ago: %v", err)
	}
	take(t, watch(t, s, "", 36), 4)
}

func TestQuietResourceKeepsUp(t *testing.T) {
	s := fsm.New(schema(), 4)
	quiet, err := s.Watch("others.example.com", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		apply(t, s, create(cm("x", fmt.Sprint(i), "")))
	}
	idle(t, quiet)
	if quiet.Revision() != 40 {
		t.Errorf("bookmark %d, want 40", quiet.Revision())
	}
}

func TestRestoreCutsWatches(t *testing.T) {
	leader, s := newStore(), newStore()
	apply(t, s, create(cm("x", "a", "1")))
	apply(t, leader, create(cm("x", "a", "1")), create(cm("x", "b", "1")), create(cm("x", "c", "1")))
	w, fresh := watch(t, s, "", 1), make(chan error, 1)
	go func() {
		_, err := w.Next(t.Context())
		fresh <- err
	}()
	if err := s.Restore(bytes.NewReader(snapshot(t, leader))); err != nil {
		t.Fatal(err)
	}
	if err := <-fresh; !errors.Is(err, fsm.ErrCompacted) {
		t.Errorf("watch across a restore: %v", err)
	}
	for resource, want := range map[string]error{"configmaps": fsm.ErrCompacted, "others.example.com": fsm.ErrCompacted} {
		if _, err := s.Watch(resource, "", 2); !errors.Is(err, want) {
			t.Errorf("watch of %s from before the restore: %v", resource, err)
		}
	}
	after := watch(t, s, "", 3)
	apply(t, s, create(cm("x", "d", "1")))
	if diff := cmp.Diff([]string{"ADDED d 4"}, take(t, after, 1)); diff != "" {
		t.Error(diff)
	}
}

func TestWaits(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("x", "a", "1")))
	done := make(chan error, 4)
	go func() { done <- s.WaitApplied(t.Context(), 3) }()
	go func() { done <- s.WaitRevision(t.Context(), 2) }()
	go func() { done <- s.WaitChange(t.Context(), 1, "others.example.com", "configmaps") }()
	apply(t, s, create(cm("x", "b", "1")))
	apply(t, s)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- s.WaitChange(ctx, 0, "others.example.com") }()
	apply(t, s, create(cm("x", "c", "1")))
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("woken by another resource: %v", err)
	}
}

// TestReadersWhileWriting is for the race detector, and checks that a read is never older than an event seen.
func TestReadersWhileWriting(t *testing.T) {
	s := newStore()
	const writes = 300
	var wg sync.WaitGroup
	for range 4 {
		w := watch(t, s, "", 0)
		wg.Go(func() {
			for last := uint64(0); last < writes; {
				events, err := w.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, e := range events {
					if e.Object.Revision != last+1 {
						t.Errorf("event %d after %d", e.Object.Revision, last)
					}
					last = e.Object.Revision
				}
				v := s.View()
				if v.Revision() < last || len(slices.Collect(v.List("configmaps", ""))) != v.Len() {
					t.Error("a view is older than an event, or torn")
				}
				var out bytes.Buffer
				if _, err := v.WriteTo(&out); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range writes {
		apply(t, s, create(cm("x", fmt.Sprint(i), "")))
	}
	wg.Wait()
}
