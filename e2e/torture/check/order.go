package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/holt-project/holt/e2e/torture/history"
)

// checkOrder checks that revisions go up in real time: what a client was told before a call began is not newer than
// what the call makes, or than the newest state that it reads. This holds over all keys.
func checkOrder(h *history.History, v *violations) {
	begins := make([]*history.Call, 0, len(h.Calls))
	for i := range h.Calls {
		begins = append(begins, &h.Calls[i])
	}
	ends := slices.Clone(begins)
	slices.SortFunc(begins, func(a, b *history.Call) int { return cmp.Compare(a.Begin, b.Begin) })
	slices.SortFunc(ends, func(a, b *history.Call) int { return cmp.Compare(a.End, b.End) })
	newest := h.Start
	var by *history.Call
	for _, c := range begins {
		for len(ends) > 0 && ends[0].End < c.Begin {
			if told := knows(ends[0]); told > newest {
				newest, by = told, ends[0]
			}
			ends = ends[1:]
		}
		made := c.Writes() && c.Object != nil && c.Object.Revision != 0
		switch {
		case made && c.Object.Revision <= newest:
			v.add(Backwards, "%s, after %d was known: %s", describe(c), newest, describeOrNothing(by))
		case c.Verb == history.List && c.Outcome == history.Done && c.Linearizable() && c.Revision < newest:
			v.add(Backwards, "%s is of %d, after %d was known: %s", describe(c), c.Revision, newest, describeOrNothing(by))
		}
	}
}

func describeOrNothing(c *history.Call) string {
	if c == nil {
		return "the start"
	}
	return describe(c)
}

// knows is the newest revision that a call's answer shows.
func knows(c *history.Call) uint64 {
	revision := c.Revision
	if c.Object != nil {
		revision = max(revision, c.Object.Revision)
	}
	return revision
}

// seenBy is the newest that one server has shown, and since when.
type seenBy struct {
	at       time.Duration
	revision uint64
	call     *history.Call
}

// checkCached checks reads of any state: on one server that was not started again, one that begins after another has
// ended shows nothing older.
func checkCached(h *history.History, v *violations) {
	type view struct {
		server string
		life   int
		key    string // "" for lists
	}
	views := map[view][]seenBy{}
	for i := range h.Calls {
		c := &h.Calls[i]
		if c.Writes() || c.Version != "0" || c.Outcome != history.Done || c.Life < 0 {
			continue
		}
		k := view{c.Server, c.Life, c.Key}
		views[k] = append(views[k], seenBy{c.End, knows(c), c})
	}
	for _, reads := range views {
		for _, pair := range inverted(reads) {
			v.add(Backwards, "%s shows %d, and later %s", describe(pair[0].call), pair[0].revision, describe(pair[1].call))
		}
	}
}

// inverted finds reads that show an older state than one that had ended before they began.
func inverted(reads []seenBy) (pairs [][2]seenBy) {
	slices.SortFunc(reads, func(a, b seenBy) int { return cmp.Compare(a.at, b.at) })
	newest := make([]seenBy, len(reads)) // newest[i] is the newest of reads[:i+1]
	for i, r := range reads {
		newest[i] = r
		if i > 0 && newest[i-1].revision > r.revision {
			newest[i] = newest[i-1]
		}
	}
	for _, r := range reads {
		ended, _ := slices.BinarySearchFunc(reads, r.call.Begin, func(o seenBy, begin time.Duration) int {
			return cmp.Compare(o.at, begin)
		})
		if ended > 0 && newest[ended-1].revision > r.revision {
			pairs = append(pairs, [2]seenBy{newest[ended-1], r})
		}
	}
	return pairs
}
