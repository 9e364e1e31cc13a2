package check_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holt-project/holt/e2e/torture/check"
	"github.com/holt-project/holt/e2e/torture/history"
)

// story builds a history by hand. Calls follow each other, unless overlapping says otherwise.
type story struct {
	h   history.History
	now time.Duration
}

const key = "e0000-0"

// tick is how long everything takes.
const tick = 10 * time.Millisecond

func tell() *story { return &story{h: history.History{Start: 1}} }

// call adds a call that begins after all before it have ended.
func (s *story) call(c history.Call) *history.Call {
	c.Begin, c.End = s.now+1, s.now+tick
	s.now = c.End
	if c.Key == "" && c.Verb != history.List {
		c.Key = key
	}
	if c.Outcome == "" {
		c.Outcome = history.Done
	}
	s.h.Calls = append(s.h.Calls, c)
	return &s.h.Calls[len(s.h.Calls)-1]
}

func object(revision uint64, value, patch string) *history.Object {
	return &history.Object{Key: key, UID: "uid", Revision: revision, Content: history.Content{Value: value, Patch: patch, Half: "a"}}
}

func (s *story) create(revision uint64, value string) {
	s.call(history.Call{Verb: history.Create, Content: object(0, value, "").Content, Object: object(revision, value, "")})
}

func (s *story) update(revision, ifRevision uint64, value string) {
	s.call(history.Call{Verb: history.Update, IfRevision: ifRevision, Content: object(0, value, "").Content,
		Object: object(revision, value, "")})
}

func (s *story) get(revision uint64, value string) {
	s.call(history.Call{Verb: history.Get, Object: object(revision, value, "")})
}

func (s *story) gone() { s.call(history.Call{Verb: history.Get, Outcome: history.NotFound}) }

func (s *story) delete() {
	s.call(history.Call{Verb: history.Delete, Object: &history.Object{Key: key, UID: "uid"}})
}

func (s *story) list(revision uint64, items ...history.Object) *history.Call {
	return s.call(history.Call{Verb: history.List, Revision: revision, Items: items})
}

// watch adds a watcher of everything from the start.
func (s *story) watch(reached uint64, events ...history.Event) *history.Run {
	s.h.End = max(s.h.End, reached)
	for i := range events {
		events[i].At = s.now + time.Hour
	}
	s.h.Runs = append(s.h.Runs, history.Run{Watcher: "watcher", Start: 1, Reached: reached, Events: events})
	return &s.h.Runs[len(s.h.Runs)-1]
}

func event(kind string, revision uint64, value string) history.Event {
	return history.Event{Type: kind, Object: *object(revision, value, "")}
}

func mark(revision uint64) history.Event {
	return history.Event{Type: history.Bookmark, Object: history.Object{Revision: revision}}
}

// stories each have the kinds of violations that must be found in them: none in those that are as they should be.
var stories = map[string]struct {
	tell func(*story)
	want []string
}{
	"a life": {func(s *story) {
		s.gone()
		s.create(2, "x")
		s.call(history.Call{Verb: history.Create, Content: history.Content{Value: "y"}, Outcome: history.Exists})
		s.get(2, "x")
		s.update(5, 2, "z")
		s.call(history.Call{Verb: history.Update, IfRevision: 2, Content: history.Content{Value: "w"}, Outcome: history.Conflict})
		s.call(history.Call{Verb: history.Patch, Content: history.Content{Patch: "p"}, Object: object(6, "z", "p")})
		s.list(6, *object(6, "z", "p"))
		s.delete()
		s.gone()
		s.list(7)
		s.watch(7, event(history.Added, 2, "x"), mark(4), event(history.Modified, 5, "z"),
			history.Event{Type: history.Modified, Object: *object(6, "z", "p")},
			history.Event{Type: history.Deleted, Object: *object(7, "z", "p")})
	}, nil},
	"unknown outcomes, one applied and one not": {func(s *story) {
		s.create(2, "x")
		s.call(history.Call{Verb: history.Update, Content: history.Content{Value: "u", Half: "a"}, Outcome: history.Unknown})
		s.call(history.Call{Verb: history.Update, Content: history.Content{Value: "v", Half: "a"}, Outcome: history.Unknown})
		s.get(2, "x")
		s.get(3, "v")
		s.call(history.Call{Verb: history.Delete, Outcome: history.Unknown})
		s.get(3, "v")
	}, nil},
	"deletion of unknown outcome, applied": {func(s *story) {
		s.create(2, "x")
		s.call(history.Call{Verb: history.Delete, Outcome: history.Unknown})
		s.call(history.Call{Verb: history.Delete, Outcome: history.Unknown})
		s.get(2, "x")
		s.gone()
		s.watch(3, event(history.Added, 2, "x"), event(history.Deleted, 3, "x"))
	}, nil},
	"deletion that nobody asked for": {func(s *story) {
		s.create(2, "x")
		s.call(history.Call{Verb: history.Delete, IfUID: "other", Outcome: history.Unknown})
		s.gone()
		s.watch(3, event(history.Added, 2, "x"), event(history.Deleted, 3, "x"))
	}, []string{check.NotLinearizable}},
	"applied in another order than seen": {func(s *story) {
		s.create(2, "x")
		s.update(4, 0, "z")
		s.update(3, 0, "y")
		s.watch(4, event(history.Added, 2, "x"), event(history.Modified, 3, "y"), event(history.Modified, 4, "z"))
	}, []string{check.NotLinearizable, check.Backwards}},
	"stale read": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.get(2, "x")
	}, []string{check.NotLinearizable}},
	"stale absence": {func(s *story) {
		s.create(2, "x")
		s.gone()
	}, []string{check.NotLinearizable}},
	"lost update": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.update(4, 2, "z") // its precondition did not hold any more
	}, []string{check.NotLinearizable}},
	"half a lost update": {func(s *story) {
		s.create(2, "x")
		s.call(history.Call{Verb: history.Update, Content: object(0, "y", "").Content, Object: object(3, "y", "")})
		s.call(history.Call{Verb: history.Patch, Content: history.Content{Patch: "p"}, Object: object(4, "x", "p")})
	}, []string{check.NotLinearizable}},
	"deletion applied twice": {func(s *story) {
		s.create(2, "x")
		s.delete()
		s.delete() // there was nothing left
	}, []string{check.NotLinearizable}},
	"deletion of another life": {func(s *story) {
		s.create(2, "x")
		s.call(history.Call{Verb: history.Delete, IfUID: "other", Object: &history.Object{Key: key, UID: "uid"}})
	}, []string{check.NotLinearizable}},
	"create applied twice": {func(s *story) {
		s.create(2, "x")
		s.delete()
		s.get(4, "x")
	}, []string{check.AppliedTwice, check.NotLinearizable}},
	"acknowledged write lost": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.list(9, *object(2, "x", ""))
		s.watch(9, event(history.Added, 2, "x"))
	}, []string{check.LostEvent, check.NotLinearizable, check.WrongList}},
	"refused and applied": {func(s *story) {
		s.call(history.Call{Verb: history.Create, Content: object(0, "x", "").Content, Outcome: history.Failed})
		s.get(2, "x")
	}, []string{check.NotLinearizable, check.RefusedApplied}},
	"read from the future": {func(s *story) {
		s.call(history.Call{Verb: history.Get, Version: "0", Object: object(2, "x", "")})
		s.create(2, "x")
	}, []string{check.Backwards, check.FromTheFuture}},
	"read from nowhere": {func(s *story) {
		s.call(history.Call{Verb: history.Get, Version: "0", Object: object(2, "x", "")})
	}, []string{check.FromNowhere}},
	"revisions go back": {func(s *story) {
		s.list(8)
		s.create(7, "x")
	}, []string{check.Backwards}},
	"stale list": {func(s *story) {
		s.list(8)
		s.list(7)
	}, []string{check.Backwards}},
	"any state goes back on one server": {func(s *story) {
		s.list(8).Version = "0"
		s.list(7).Version = "0"
	}, []string{check.Backwards}},
	"any state, after a start": {func(s *story) {
		s.list(8).Version = "0"
		next := s.list(7)
		next.Version, next.Life = "0", 1
	}, nil},
	"list of another revision": {func(s *story) {
		one := s.list(8)
		one.Version, one.Match = "7", "Exact"
		s.list(8).Version = "9"
	}, []string{check.WrongRevision}},
	"two lists of one revision": {func(s *story) {
		s.create(2, "x")
		s.list(2, *object(2, "x", ""))
		s.watch(2, event(history.Added, 2, "x"))
		s.list(2).Version = "0"
	}, []string{check.WrongList}},
	"item newer than its list": {func(s *story) {
		s.create(3, "x")
		s.watch(3, event(history.Added, 3, "x"))
		s.list(2, *object(3, "x", "")).Version = "0"
	}, []string{check.WrongList}},
	"one revision, two objects": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.watch(3, event(history.Added, 2, "x"), history.Event{Type: history.Modified, Object: *object(3, "x", "")})
	}, []string{check.AppliedTwice, check.TwoObjects, check.WrongEvent}},
	"lost event": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.update(4, 3, "z")
		s.watch(4, event(history.Added, 2, "x"), event(history.Modified, 4, "z"))
	}, []string{check.LostEvent}},
	"event lost before a bookmark": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.watch(3, event(history.Added, 2, "x"), mark(3))
	}, []string{check.LostEvent}},
	"deletion lost by everybody": {func(s *story) {
		s.create(2, "x")
		s.delete()
		s.watch(3, event(history.Added, 2, "x"), mark(3))
	}, []string{check.LostWrite}},
	"event repeated": {func(s *story) {
		s.create(2, "x")
		s.watch(2, event(history.Added, 2, "x"), event(history.Added, 2, "x"))
	}, []string{check.RepeatedEvent}},
	"event out of order": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.watch(3, event(history.Modified, 3, "y"), event(history.Added, 2, "x"))
	}, []string{check.DisorderedEvent}},
	"event behind a bookmark": {func(s *story) {
		s.create(2, "x")
		s.watch(3, mark(3), event(history.Added, 2, "x"))
	}, []string{check.DisorderedEvent}},
	"wrong type of event": {func(s *story) {
		s.create(2, "x")
		s.watch(2, event(history.Modified, 2, "x"))
	}, []string{check.WrongEvent}},
	"event of nothing": {func(s *story) {
		s.create(2, "x")
		s.watch(3, event(history.Added, 2, "x"))
		run := s.watch(3, event(history.Added, 2, "x"), event(history.Deleted, 3, "x"))
		run.Scope.Half = "a"
	}, []string{check.ExtraEvent}},
	"leaves a selector": {func(s *story) {
		s.create(2, "x")
		left := history.Content{Value: "y", Half: "b"}
		s.call(history.Call{Verb: history.Update, Content: left,
			Object: &history.Object{Key: key, UID: "uid", Revision: 3, Content: left}})
		s.watch(3, event(history.Added, 2, "x"), history.Event{Type: history.Modified, Object: *s.h.Calls[1].Object})
		s.watch(3, event(history.Added, 2, "x"), event(history.Deleted, 3, "x")).Scope.Half = "a"
		s.watch(3, history.Event{Type: history.Added, Object: *s.h.Calls[1].Object}).Scope.Half = "b"
	}, nil},
	"stays in a selector that it left": {func(s *story) {
		s.create(2, "x")
		left := history.Content{Value: "y", Half: "b"}
		s.call(history.Call{Verb: history.Update, Content: left,
			Object: &history.Object{Key: key, UID: "uid", Revision: 3, Content: left}})
		s.watch(3, event(history.Added, 2, "x"), history.Event{Type: history.Modified, Object: *s.h.Calls[1].Object})
		s.watch(3, event(history.Added, 2, "x"), mark(3)).Scope.Half = "a"
	}, []string{check.LostEvent}},
	"begins with another state": {func(s *story) {
		s.create(2, "x")
		s.watch(2, event(history.Added, 2, "x"))
		s.h.Runs = append(s.h.Runs, history.Run{Watcher: "late", Start: 2, Reached: 2})
	}, []string{check.WrongStart}},
	"a gap that is told": {func(s *story) {
		s.create(2, "x")
		s.update(3, 2, "y")
		s.update(4, 3, "z")
		s.watch(2, event(history.Added, 2, "x"))
		s.h.Runs = append(s.h.Runs, history.Run{Watcher: "watcher", Start: 3, Reached: 4,
			Initial: []history.Object{*object(3, "y", "")}, Events: []history.Event{{Type: history.Modified, Object: *object(4, "z", ""), At: time.Hour}}})
	}, nil},
}

func TestStories(t *testing.T) {
	for name, c := range stories {
		t.Run(name, func(t *testing.T) {
			s := tell()
			c.tell(s)
			got := check.History(&s.h)
			slices.Sort(c.want)
			if diff := cmp.Diff(c.want, got.Kinds()); diff != "" {
				t.Errorf("kinds of violations (-want +got):\n%s\n%v", diff, got.Violations)
			}
			if broken := slices.Contains(c.want, check.NotLinearizable); broken != slices.Contains(got.Broken, key) {
				t.Errorf("broken: %v", got.Broken)
			}
		})
	}
}

// A history that was written is judged as it was before, and has a page.
func TestWrittenHistory(t *testing.T) {
	s := tell()
	stories["stale read"].tell(s)
	file := filepath.Join(t.TempDir(), "history.json")
	if err := s.h.Write(file); err != nil {
		t.Fatal(err)
	}
	h, err := history.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&s.h, h); diff != "" {
		t.Errorf("read another history (-want +got):\n%s", diff)
	}
	page, err := os.Create(filepath.Join(t.TempDir(), "page.html"))
	if err != nil {
		t.Fatal(err)
	}
	if err := check.Visualize(h, key, page); err != nil {
		t.Error(err)
	}
	if err := page.Close(); err != nil {
		t.Error(err)
	}
}
