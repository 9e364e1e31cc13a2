package check

import (
	"slices"
	"strconv"

	"github.com/holt-project/holt/e2e/torture/history"
)

// checkLists checks that every list, however it was asked for, is the whole state of its scope at its revision. So two
// lists of one revision are equal, and no item is newer than its list.
func checkLists(h *history.History, t *truth, v *violations) {
	byEra := map[string][]string{}
	for key := range t.byKey {
		byEra[history.Era(key)] = append(byEra[history.Era(key)], key)
	}
	for i := range h.Calls {
		c := &h.Calls[i]
		if c.Verb != history.List || c.Outcome != history.Done {
			continue
		}
		checkAsked(c, v)
		for _, wrong := range t.differences(c.Scope, c.Revision, c.Items, h.Start, byEra) {
			v.add(WrongList, "%s is of %d, and %s", describe(c), c.Revision, wrong)
		}
	}
	for _, run := range h.Runs {
		if run.Blind {
			continue
		}
		for _, wrong := range t.differences(run.Scope, run.Start, run.Initial, h.Start, byEra) {
			v.add(WrongStart, "%s begins at %d, and %s", run.Watcher, run.Start, wrong)
		}
	}
}

// checkAsked checks that a list is not older than it was asked to be, or exactly that old.
func checkAsked(c *history.Call, v *violations) {
	if c.Version == "" || c.Version == "0" {
		return
	}
	asked, err := strconv.ParseUint(c.Version, 10, 64)
	if err != nil || c.Revision < asked || c.Match == "Exact" && c.Revision != asked {
		v.add(WrongRevision, "%s is of %d", describe(c), c.Revision)
	}
}

// differences compares items with the state of a scope at a revision, as far as that is certain.
func (t *truth) differences(scope history.Scope, revision uint64, items []history.Object, start uint64, byEra map[string][]string) []string {
	var wrong []string
	shown := map[string]history.Object{}
	for _, o := range items {
		if _, twice := shown[o.Key]; twice {
			wrong = append(wrong, o.Key+" is there twice")
		}
		if o.Revision > revision {
			wrong = append(wrong, o.Key+" is newer: "+strconv.FormatUint(o.Revision, 10))
		}
		if !scope.Has(o.Key, o.Content) {
			wrong = append(wrong, o.Key+" is not in the scope")
		}
		shown[o.Key] = o
	}
	for era, keys := range byEra {
		if scope.Era != "" && scope.Era != era {
			continue
		}
		for _, key := range keys {
			last, sure := t.before(key, revision+1, start)
			if !sure {
				continue
			}
			o, is := shown[key]
			should := last != nil && !last.deleted && scope.Has(key, last.object.Content)
			switch {
			case is && !should:
				wrong = append(wrong, key+" should not be there")
			case !is && should:
				wrong = append(wrong, key+" is missing; "+last.by+" saw it")
			case is && o != last.object:
				wrong = append(wrong, key+" should be of "+strconv.FormatUint(last.revision, 10)+
					", not of "+strconv.FormatUint(o.Revision, 10))
			}
		}
	}
	slices.Sort(wrong)
	return wrong
}
