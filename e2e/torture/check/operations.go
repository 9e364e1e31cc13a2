package check

import (
	"cmp"
	"math"
	"slices"

	"github.com/anishathalye/porcupine"

	"github.com/holt-project/holt/e2e/torture/history"
)

// operations sorts what the calls say by key. A list is a read of each key of its scope that calls name.
//
// Where the watchers of everything were told all there was, a write of unknown outcome that nobody has seen has taken no
// effect, and is left out; deletions of unknown outcome are told by what was deleted and by nobody else.
func operations(h *history.History, t *truth) map[string][]porcupine.Operation {
	complete := h.End > h.Start && t.covers(h.Start, h.End)
	byKey := map[string][]porcupine.Operation{}
	byEra := map[string][]string{}
	for i := range h.Calls {
		if key := h.Calls[i].Key; key != "" && byKey[key] == nil {
			byKey[key] = []porcupine.Operation{}
			byEra[history.Era(key)] = append(byEra[history.Era(key)], key)
		}
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		switch {
		case c.Outcome == history.Failed || !c.Writes() && (c.Outcome == history.Unknown || !c.Linearizable()):
		case c.Verb == history.List:
			for key, one := range listed(c, byEra) {
				byKey[key] = append(byKey[key], operation(input{Call: one}))
			}
		default:
			in := t.input(c, complete)
			if complete && c.Outcome == history.Unknown && in.revision == 0 {
				continue
			}
			byKey[c.Key] = append(byKey[c.Key], operation(in))
		}
	}
	if complete {
		for _, in := range t.unclaimed(h) {
			byKey[in.Key] = append(byKey[in.Key], operation(in))
		}
	}
	return byKey
}

func operation(in input) porcupine.Operation {
	op := porcupine.Operation{ClientId: in.Client, Input: in, Call: int64(in.Begin), Return: int64(in.End)}
	if in.Outcome == history.Unknown {
		op.Return = math.MaxInt64
	}
	return op
}

// input finds out which change a call has made.
func (t *truth) input(c *history.Call, complete bool) input {
	in := input{Call: c}
	switch {
	case !c.Writes():
		return in
	case c.Verb != history.Delete:
		in.revision = t.written[c.Content.Token()].revision
	case c.Outcome == history.Done && c.Object != nil:
		in.revision = t.deletion(c.Key, c.Object.UID)
	}
	return t.placed(in, complete)
}

// placed says which change is before the call's, if that is certain.
func (t *truth) placed(in input, complete bool) input {
	if !complete || in.revision == 0 {
		return in
	}
	in.follows = true
	for _, c := range t.byKey[in.Key] {
		if c.revision >= in.revision {
			break
		}
		in.after = c.revision
	}
	return in
}

// deletion is the revision at which the object of a UID was deleted, 0 if nobody has seen that.
func (t *truth) deletion(key, uid string) uint64 {
	for _, c := range t.byKey[key] {
		if c.deleted && c.object.UID == uid {
			return c.revision
		}
	}
	return 0
}

// unclaimed are the deletions that no call was acknowledged for. Each was made by one of the calls of unknown outcome
// whose preconditions it meets; the first of them stands for all.
func (t *truth) unclaimed(h *history.History) []input {
	acknowledged := map[string]bool{} // by UID
	unknown := map[string][]*history.Call{}
	for i := range h.Calls {
		c := &h.Calls[i]
		switch {
		case c.Verb != history.Delete:
		case c.Outcome == history.Done && c.Object != nil:
			acknowledged[c.Object.UID] = true
		case c.Outcome == history.Unknown:
			unknown[c.Key] = append(unknown[c.Key], c)
		}
	}
	var out []input
	for key, calls := range unknown {
		slices.SortFunc(calls, func(a, b *history.Call) int { return cmp.Compare(a.Begin, b.Begin) })
		for i, c := range t.byKey[key] {
			if !c.deleted || acknowledged[c.object.UID] || i == 0 {
				continue
			}
			last := t.byKey[key][i-1]
			at := slices.IndexFunc(calls, func(d *history.Call) bool {
				return (d.IfUID == "" || d.IfUID == c.object.UID) && (d.IfRevision == 0 || d.IfRevision == last.revision)
			})
			if at >= 0 {
				out = append(out, t.placed(input{Call: calls[at], revision: c.revision}, true))
			}
		}
	}
	return out
}

// listed is what a list says of each key. One with a selector that changes with the object says nothing of a key that
// it does not show.
func listed(c *history.Call, byEra map[string][]string) map[string]*history.Call {
	out := map[string]*history.Call{}
	one := history.Call{Client: c.Client, Server: c.Server, Verb: history.Get, Begin: c.Begin, End: c.End}
	if c.Scope.Half == "" {
		for era, keys := range byEra {
			if c.Scope.Era != "" && c.Scope.Era != era {
				continue
			}
			for _, key := range keys {
				absent := one
				absent.Key, absent.Outcome = key, history.NotFound
				out[key] = &absent
			}
		}
	}
	for i := range c.Items {
		shown := one
		shown.Key, shown.Outcome, shown.Object = c.Items[i].Key, history.Done, &c.Items[i]
		out[shown.Key] = &shown
	}
	return out
}
