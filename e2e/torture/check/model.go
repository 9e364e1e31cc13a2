package check

import (
	"fmt"
	"io"
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
	// follows says that every change of the object is known: the one before this is at revision after, 0 if it is the
	// first. Then a write has just one place among the others, and the search does not have to try.
	follows bool
	after   uint64
}

// fits tells whether the change that the call made can be the next one in state s.
func (in input) fits(s state) bool {
	return (in.revision == 0 || in.revision > s.floor) && (!in.follows || in.after == s.floor)
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
	if !in.fits(s) {
		return false, s
	}
	next := state{exists: true, uid: uid, content: content, revision: in.revision, floor: max(s.floor, in.revision)}
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
		return in.Outcome == history.Unknown && in.revision == 0, s
	case in.Object != nil && s.uid != "" && in.Object.UID != "" && in.Object.UID != s.uid:
		return false, s
	}
	return in.fits(s), state{floor: max(s.floor, in.revision)}
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

// patiencePerKey bounds the search for one key's linearization: where every change is known it takes no time, and where
// not, more of it seldom helps.
const patiencePerKey = 30 * time.Second

// undecidedAtMost is after how many undecided keys the search ends: one cause makes many of them.
const undecidedAtMost = 3

// checkModel looks for a linearization of each key's calls, and returns the keys that have none.
func checkModel(h *history.History, t *truth, v *violations) (broken []string) {
	for key, ops := range sorted(operations(h, t)) {
		switch porcupine.CheckOperationsTimeout(model(), ops, patiencePerKey) {
		case porcupine.Illegal:
			v.add(NotLinearizable, "the %d calls of %s have no order that one object would answer so", len(ops), key)
			broken = append(broken, key)
		case porcupine.Unknown:
			v.add(Undecided, "the %d calls of %s need more time", len(ops), key)
			broken = append(broken, key)
		}
		if v.counts[Undecided] == undecidedAtMost {
			v.add(Undecided, "the keys after %s were not looked at", key)
			break
		}
	}
	return broken
}

// Visualize writes porcupine's page of one key's calls, with the longest partial linearizations.
func Visualize(h *history.History, key string, out io.Writer) error {
	t := newTruth(h, &violations{})
	_, info := porcupine.CheckOperationsVerbose(model(), operations(h, t)[key], patiencePerKey)
	return porcupine.Visualize(model(), info, out)
}
