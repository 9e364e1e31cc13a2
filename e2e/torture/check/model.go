package check

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/holt-project/holt/e2e/torture/history"
)

// state is one object as far as a linearization knows it.
type state struct {
	exists  bool
	uid     string // "" if it was made by a call of unknown outcome and nobody has seen it since
	content history.Content
	// revision is 0 if it was given by a call of unknown outcome and nobody has seen it since; floor is the highest
	// that the object certainly had.
	revision, floor uint64
}

// seen takes what a call shows of the object: it must be this one. What was not known is, from then on.
func (s state) seen(o *history.Object) (state, bool) {
	if o == nil {
		return s, true
	}
	if s.uid != "" && o.UID != "" && s.uid != o.UID || o.Content != s.content {
		return s, false
	}
	if s.revision != 0 && s.revision != o.Revision || s.revision == 0 && o.Revision <= s.floor {
		return s, false
	}
	s.revision, s.floor = o.Revision, o.Revision
	if s.uid == "" {
		s.uid = o.UID
	}
	return s, true
}

// input is a call as the model sees it.
type input struct {
	*history.Call
	// revision is that of the change that the call made, where anybody has seen it; else 0.
	revision uint64
}

// step is the model: what one copy of the object would answer in state s. It reports whether it could be the answer.
func step(s state, in input) (bool, state) {
	switch in.Verb {
	case history.Get:
		return read(s, in)
	case history.Create:
		return create(s, in)
	case history.Delete:
		return remove(s, in)
	}
	return replace(s, in)
}

func read(s state, in input) (bool, state) {
	if in.Outcome == history.NotFound {
		return !s.exists, s
	}
	if !s.exists {
		return false, s
	}
	next, ok := s.seen(in.Object)
	return ok, next
}

func create(s state, in input) (bool, state) {
	switch {
	case in.Outcome == history.Exists:
		return s.exists, s
	case s.exists: // one whose outcome is unknown has no effect then
		return in.Outcome == history.Unknown && in.revision == 0, s
	}
	return written(s, in, in.Content, "")
}

func replace(s state, in input) (bool, state) {
	met := s.exists && (in.IfRevision == 0 || in.IfRevision == s.revision)
	switch {
	case in.Outcome == history.NotFound:
		return !s.exists, s
	case in.Outcome == history.Conflict:
		return s.exists && !met, s
	case !met:
		return in.Outcome == history.Unknown && in.revision == 0, s
	}
	content := in.Content
	if in.Verb == history.Patch {
		content = s.content.Patched(in.Content)
	}
	return written(s, in, content, s.uid)
}

// written is the state after a write that takes effect, as its answer or anybody else shows it.
func written(s state, in input, content history.Content, uid string) (bool, state) {
	next := state{exists: true, uid: uid, content: content, floor: s.floor}
	if in.revision != 0 {
		if in.revision <= s.floor {
			return false, s
		}
		next.revision, next.floor = in.revision, in.revision
	}
	next, ok := next.seen(in.Object)
	return ok, next
}

func remove(s state, in input) (bool, state) {
	met := s.exists && (in.IfRevision == 0 || in.IfRevision == s.revision) &&
		(in.IfUID == "" || s.uid == "" || in.IfUID == s.uid)
	switch {
	case in.Outcome == history.NotFound:
		return !s.exists, s
	case in.Outcome == history.Conflict:
		// An object that nobody has seen may be another than the one that was meant.
		return s.exists && (!met || in.IfUID != "" && s.uid == ""), s
	case !met:
		return in.Outcome == history.Unknown, s
	case in.Object != nil && s.uid != "" && in.Object.UID != "" && in.Object.UID != s.uid:
		return false, s
	}
	return true, state{floor: s.floor}
}

// model is step for porcupine.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, in, _ any) (bool, any) {
			ok, next := step(s.(state), in.(input))
			return ok, next
		},
		DescribeOperation: func(in, _ any) string { return describe(in.(input).Call) },
		DescribeState: func(s any) string {
			st := s.(state)
			if !st.exists {
				return fmt.Sprintf("absent (last revision %d)", st.floor)
			}
			return fmt.Sprintf("%s@%d", st.content.Token(), st.revision)
		},
	}
}

// operations sorts what the calls say by key. A list is a read of each key of its scope that calls name.
func operations(h *history.History, written map[string]writtenBy) map[string][]porcupine.Operation {
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
				byKey[key] = append(byKey[key], operation(one, 0))
			}
		default:
			byKey[c.Key] = append(byKey[c.Key], operation(c, written[c.Content.Token()].revision))
		}
	}
	return byKey
}

func operation(c *history.Call, revision uint64) porcupine.Operation {
	op := porcupine.Operation{ClientId: c.Client, Input: input{c, revision}, Call: int64(c.Begin), Return: int64(c.End)}
	if c.Outcome == history.Unknown {
		op.Return = math.MaxInt64
	}
	return op
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

// checkModel looks for a linearization of each key's calls, and returns the keys that have none.
func checkModel(h *history.History, written map[string]writtenBy, patience time.Duration, v *violations) (broken []string) {
	until := time.Now().Add(patience)
	for key, ops := range sorted(operations(h, written)) {
		// The library takes no time at all for no bound.
		switch porcupine.CheckOperationsTimeout(model(), ops, max(time.Until(until), time.Millisecond)) {
		case porcupine.Illegal:
			v.add(NotLinearizable, "the %d calls of %s have no order that one object would answer so", len(ops), key)
			broken = append(broken, key)
		case porcupine.Unknown:
			v.add(Undecided, "the %d calls of %s need more time", len(ops), key)
			broken = append(broken, key)
		}
	}
	return broken
}

// Visualize writes porcupine's page of one key's calls, with the longest partial linearizations.
func Visualize(h *history.History, key string, patience time.Duration, out io.Writer) error {
	t := newTruth(h, &violations{})
	_, info := porcupine.CheckOperationsVerbose(model(), operations(h, t.written)[key], patience)
	return porcupine.Visualize(model(), info, out)
}
