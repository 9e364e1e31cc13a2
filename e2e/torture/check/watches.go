package check

import (
	"cmp"
	"slices"

	"github.com/holt-project/holt/e2e/torture/history"
)

// checkWatches checks every watcher's run against the changes that are known, and that what was acknowledged is known
// to those who watched everything.
func checkWatches(h *history.History, t *truth, v *violations) {
	all := make([]*change, 0, len(t.changes))
	for _, c := range t.changes {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *change) int { return cmp.Compare(a.revision, b.revision) })
	for i := range h.Runs {
		run := &h.Runs[i]
		if checkPositions(run, v) {
			t.checkEvents(run, between(all, run.Start, run.Reached), h.Start, v)
		}
	}
	checkDeletions(h, t, v)
}

func between(all []*change, from, to uint64) []*change {
	at := func(revision uint64) int {
		i, _ := slices.BinarySearchFunc(all, revision+1, func(c *change, r uint64) int { return cmp.Compare(c.revision, r) })
		return i
	}
	return all[at(from):max(at(from), at(to))]
}

// checkPositions checks that every event is behind all that was told before, bookmarks included.
func checkPositions(run *history.Run, v *violations) (ok bool) {
	at, marked := run.Start, uint64(0)
	told := map[uint64]bool{}
	ok = true
	for _, e := range run.Events {
		revision := e.Object.Revision
		switch {
		case e.Type == history.Bookmark && revision < at:
			v.add(DisorderedEvent, "%s: %s marks %d behind %d", run.Watcher, e.Server, revision, at)
			ok = false
		case e.Type == history.Bookmark:
			marked = revision
		case told[revision]:
			v.add(RepeatedEvent, "%s: %s tells %+v again", run.Watcher, e.Server, e.Object)
			ok = false
		case revision <= at:
			v.add(DisorderedEvent, "%s: %s tells %+v behind %d (marked: %d)", run.Watcher, e.Server, e.Object, at, marked)
			ok = false
		}
		told[revision] = told[revision] || e.Type != history.Bookmark
		at = max(at, revision)
	}
	return ok
}

// checkEvents compares the events of a run with what the changes mean to its scope.
func (t *truth) checkEvents(run *history.Run, changes []*change, start uint64, v *violations) {
	events := map[uint64]history.Event{}
	for _, e := range run.Events {
		if e.Type != history.Bookmark {
			events[e.Object.Revision] = e
		}
	}
	for _, c := range changes {
		e, told := events[c.revision]
		delete(events, c.revision)
		want, sure := t.event(run.Scope, c, start)
		switch {
		case !sure:
		case want == nil && told:
			v.add(ExtraEvent, "%s: %s tells %s %+v, which is out of its scope", run.Watcher, e.Server, e.Type, e.Object)
		case want != nil && !told:
			v.add(LostEvent, "%s (after %d, up to %d, %d connections) was not told %s %+v, which %s saw",
				run.Watcher, run.Start, run.Reached, run.Connections, want.Type, want.Object, c.by)
		case want != nil && (e.Type != want.Type || e.Object != want.Object):
			v.add(WrongEvent, "%s: %s tells %s %+v, want %s %+v", run.Watcher, e.Server, e.Type, e.Object, want.Type, want.Object)
		}
	}
	for revision, e := range events {
		if t.covers(revision-1, revision) {
			v.add(ExtraEvent, "%s: %s tells %s %+v, and nobody else saw that", run.Watcher, e.Server, e.Type, e.Object)
		}
	}
}

// event is what a change means in a scope: nil if nothing. It is sure if the state before is.
func (t *truth) event(scope history.Scope, c *change, start uint64) (e *history.Event, sure bool) {
	last, sure := t.before(c.object.Key, c.revision, start)
	if !sure {
		return nil, false
	}
	was := last != nil && !last.deleted && scope.Has(last.object.Key, last.object.Content)
	is := !c.deleted && scope.Has(c.object.Key, c.object.Content)
	switch {
	case is && was:
		return &history.Event{Type: history.Modified, Object: c.object}, true
	case is:
		return &history.Event{Type: history.Added, Object: c.object}, true
	case was: // as it was while it was in the scope, at the revision at which it left
		gone := last.object
		gone.Revision = c.revision
		return &history.Event{Type: history.Deleted, Object: gone}, true
	}
	return nil, true
}

// checkDeletions checks that acknowledged deletions are among the changes: they are answered without a revision, so
// the watches are the only ones to tell it.
func checkDeletions(h *history.History, t *truth, v *violations) {
	if h.End <= h.Start || !t.covers(h.Start, h.End) {
		return
	}
	gone := map[string]bool{}
	for _, c := range t.changes {
		if c.deleted {
			gone[c.object.UID] = true
		}
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		if c.Verb == history.Delete && c.Outcome == history.Done && c.Object != nil && !gone[c.Object.UID] {
			v.add(LostWrite, "%s", describe(c))
		}
	}
}
