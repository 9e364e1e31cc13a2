package check

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/holt-project/holt/e2e/torture/history"
)

// change is one revision: what everybody together knows of it.
type change struct {
	revision uint64
	object   history.Object // of a deletion, the last state, at the deletion's revision
	deleted  bool
	by       string // who said so first
}

// writtenBy is what is known of one write.
type writtenBy struct {
	call     *history.Call
	revision uint64 // of the object that it made, 0 if nobody has seen it
	uid      string
}

// span is the revisions after from, up to to.
type span struct{ from, to uint64 }

// truth is the sequence of changes that all observations together define.
type truth struct {
	changes map[uint64]*change
	byKey   map[string][]*change // by revision
	written map[string]writtenBy // by token
	// covered are the spans of which a watcher of everything says that it was told all.
	covered []span
}

func newTruth(h *history.History, v *violations) *truth {
	t := &truth{changes: map[uint64]*change{}, byKey: map[string][]*change{}, written: map[string]writtenBy{}}
	for i := range h.Calls {
		if c := &h.Calls[i]; c.Writes() && c.Content != (history.Content{}) {
			t.written[c.Content.Token()] = writtenBy{call: c}
		}
	}
	for o, seen := range observations(h) {
		t.observe(o, seen, v)
	}
	for _, c := range t.changes {
		t.byKey[c.object.Key] = append(t.byKey[c.object.Key], c)
	}
	for _, changes := range t.byKey {
		slices.SortFunc(changes, func(a, b *change) int { return cmp.Compare(a.revision, b.revision) })
	}
	t.covered = covered(h)
	return t
}

// sighting says who saw an object, and when at the latest.
type sighting struct {
	by      string
	at      time.Duration
	deleted bool
}

// observations yields every whole object that anybody saw, with its revision. The last state of an object that left a
// selection is none: its revision is another object's.
func observations(h *history.History) iter.Seq2[history.Object, sighting] {
	return func(yield func(history.Object, sighting) bool) {
		for i := range h.Calls {
			c := &h.Calls[i]
			for _, o := range c.Items {
				if !yield(o, sighting{by: describe(c), at: c.End}) {
					return
				}
			}
			if c.Object != nil && c.Verb != history.Delete && !yield(*c.Object, sighting{by: describe(c), at: c.End}) {
				return
			}
		}
		for _, run := range h.Runs {
			for o, seen := range told(run) {
				if !yield(o, seen) {
					return
				}
			}
		}
	}
}

func told(run history.Run) iter.Seq2[history.Object, sighting] {
	return func(yield func(history.Object, sighting) bool) {
		// Nobody remembers when the initial state came, so it is never too early.
		for _, o := range run.Initial {
			if !yield(o, sighting{by: run.Watcher, at: 1<<63 - 1}) {
				return
			}
		}
		for _, e := range run.Events {
			if e.Type == history.Bookmark || e.Type == history.Deleted && run.Scope.Half != "" {
				continue
			}
			if !yield(e.Object, sighting{run.Watcher + " at " + e.Server, e.At, e.Type == history.Deleted}) {
				return
			}
		}
	}
}

// observe adds one sighting, and compares it with the others of its revision and of its write.
func (t *truth) observe(o history.Object, seen sighting, v *violations) {
	known := t.changes[o.Revision]
	switch {
	case known == nil:
		t.changes[o.Revision] = &change{o.Revision, o, seen.deleted, seen.by}
	case known.object != o || known.deleted != seen.deleted:
		v.add(TwoObjects, "revision %d is %+v (deleted: %t) for %s, and %+v (deleted: %t) for %s",
			o.Revision, known.object, known.deleted, known.by, o, seen.deleted, seen.by)
	}
	token := o.Content.Token()
	w, ok := t.written[token]
	switch {
	case !ok || w.call.Key != o.Key:
		v.add(FromNowhere, "%+v, seen by %s", o, seen.by)
		return
	case w.call.Outcome != history.Done && w.call.Outcome != history.Unknown:
		v.add(RefusedApplied, "%s; seen by %s", describe(w.call), seen.by)
	case seen.at < w.call.Begin:
		v.add(FromTheFuture, "%s; seen at %s by %s", describe(w.call), seen.at, seen.by)
	}
	if seen.deleted {
		return
	}
	if w.revision != 0 && w.revision != o.Revision {
		v.add(AppliedTwice, "at %d and, says %s, at %d: %s", w.revision, seen.by, o.Revision, describe(w.call))
		return
	}
	w.revision, w.uid = o.Revision, o.UID
	t.written[token] = w
}

// covered joins the spans of the watchers of everything.
func covered(h *history.History) []span {
	var spans []span
	for _, run := range h.Runs {
		if run.Scope == (history.Scope{}) && run.Reached > run.Start {
			spans = append(spans, span{run.Start, run.Reached})
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var joined []span
	for _, s := range spans {
		if n := len(joined); n > 0 && s.from <= joined[n-1].to {
			joined[n-1].to = max(joined[n-1].to, s.to)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}

// covers tells whether every change after from and up to to is certainly known.
func (t *truth) covers(from, to uint64) bool {
	return from >= to || slices.ContainsFunc(t.covered, func(s span) bool { return s.from <= from && to <= s.to })
}

// before is the last known change of a key before a revision, or nil; sure is false if there may have been another.
func (t *truth) before(key string, revision, start uint64) (last *change, sure bool) {
	changes := t.byKey[key]
	i, _ := slices.BinarySearchFunc(changes, revision, func(c *change, r uint64) int { return cmp.Compare(c.revision, r) })
	from := start
	if i > 0 {
		last = changes[i-1]
		from = last.revision
	}
	return last, t.covers(from, revision-1)
}

// sorted yields a map's entries by key.
func sorted[V any](m map[string]V) iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, key := range slices.Sorted(maps.Keys(m)) {
			if !yield(key, m[key]) {
				return
			}
		}
	}
}
