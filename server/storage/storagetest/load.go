package storagetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

// written is one change as its writer knows it.
type written struct {
	op     fsm.Op
	object *fsm.Object
}

// testExactlyOnce has several clients write at random and several watch, on every server; each watcher must have seen
// exactly what its selectors let through of what was acknowledged, in order.
func testExactlyOnce(r *room) {
	const writers, batches = 4, 25
	start := r.newest()
	selectors := []string{"", "app=web", "app!=web"}
	var watching sync.WaitGroup
	seen := make([][]string, 0, 2*len(selectors))
	for _, s := range r.servers() {
		for _, selector := range selectors {
			o := r.selecting(selector, "")
			o.ResourceVersion = rv(start)
			w := r.watch(s, o)
			seen = append(seen, nil)
			mine := &seen[len(seen)-1]
			watching.Go(func() { *mine = w.untilEnd() })
		}
	}
	changes := r.write(writers, batches)
	end := r.propose(r.op(fsm.Create, r.configMap("end", "", "app=web")), r.op(fsm.Update, r.configMap("end", "", "app=db")))
	watching.Wait()
	for _, res := range end {
		changes = append(changes, written{fsm.Op{Verb: fsm.Update, Name: "end"}, res.Object})
	}
	for i, got := range seen {
		selector := selectors[i%len(selectors)]
		if want := expected(r, changes, selector); !slices.Equal(got, want) {
			r.Errorf("%q, watcher %d saw %d events, want %d:\n%s\nwant\n%s", selector, i, len(got), len(want), strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// write has n clients write batches of random changes, and returns what was changed in the order of the revisions.
func (r *room) write(n, batches int) []written {
	var mu sync.Mutex
	var all []written
	var clients sync.WaitGroup
	for client := range n {
		random := rand.New(rand.NewPCG(uint64(client), 1))
		clients.Go(func() {
			for range batches {
				ops := []fsm.Op{r.random(random), r.random(random), r.random(random)}
				results, err := r.Write.Propose(r.ctx, ops)
				if err != nil {
					r.Error(err)
					return
				}
				mu.Lock()
				for i, res := range results {
					if res.Err == nil {
						all = append(all, written{ops[i], res.Object})
					}
				}
				mu.Unlock()
			}
		})
	}
	clients.Wait()
	slices.SortStableFunc(all, func(a, b written) int { return int(a.object.Revision) - int(b.object.Revision) })
	// An update that changed nothing answers with the object as it was.
	return slices.CompactFunc(all, func(a, b written) bool { return a.object.Revision == b.object.Revision })
}

func (r *room) random(random *rand.Rand) fsm.Op {
	verb := []fsm.Verb{fsm.Create, fsm.Update, fsm.Update, fsm.Delete}[random.IntN(4)]
	app := []string{"app=web", "app=db"}[random.IntN(2)]
	return r.op(verb, r.configMap(fmt.Sprint("m", random.IntN(6)), fmt.Sprint(random.IntN(1000)), app))
}

// untilEnd spells the events up to the one that changes the object "end", or takes it away.
func (w *watch) untilEnd() []string {
	var all []string
	for {
		events, err := w.Next(w.ctx)
		if err != nil {
			w.Errorf("the watch ended: %v", err)
			return all
		}
		for _, e := range events {
			all = append(all, spell(e))
			if e.Object.Name == "end" && strings.Contains(e.Object.Value.GetLabels()["app"]+string(e.Type), "db") || e.Object.Name == "end" && e.Type == fsm.Deleted {
				return all
			}
		}
	}
}

// expected is what someone who follows the selector must see of the changes.
func expected(r *room, changes []written, selector string) []string {
	selected, err := labels.Parse(selector)
	if err != nil {
		r.Fatal(err)
	}
	in := map[string]*fsm.Object{}
	var all []string
	for _, c := range changes {
		name, was := c.object.Name, in[c.object.Name]
		is := c.op.Verb != fsm.Delete && selected.Matches(labels.Set(c.object.Value.GetLabels()))
		e := storage.Event{Object: c.object, Revision: c.object.Revision}
		switch {
		case is && was != nil:
			e.Type = fsm.Modified
		case is:
			e.Type = fsm.Added
		case was != nil:
			e.Type, e.Object = fsm.Deleted, was
		default:
			continue
		}
		all = append(all, spell(e))
		if in[name] = c.object; !is {
			delete(in, name)
		}
	}
	return all
}
