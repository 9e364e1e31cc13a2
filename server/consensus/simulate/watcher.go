package simulate

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/holt-project/holt/fsm"
)

// watcher follows one resource, and goes on at another server when its own is gone.
type watcher struct {
	cluster  *cluster
	rng      *rand.Rand
	resource string
	at       uint64 // every event up to this revision was seen, or skipped by a new list
}

// run watches until ctx ends.
func (w *watcher) run(ctx context.Context) {
	for ctx.Err() == nil {
		if p := w.cluster.servers[w.rng.IntN(len(w.cluster.servers))].up(); p != nil {
			w.watch(ctx, p)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// watch follows one server for some time.
func (w *watcher) watch(ctx context.Context, p *process) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(w.rng.Int64N(int64(20*time.Second))))
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	watch, err := p.store.Watch(w.resource, "", w.at)
	for err == nil {
		var events []fsm.Event
		if events, err = watch.Next(ctx); err == nil && !p.isDead() {
			w.check(p, events, watch.Revision())
		}
		if w.rng.IntN(10) == 0 {
			time.Sleep(time.Duration(w.rng.Int64N(int64(10 * time.Second)))) // too slow
		}
	}
	if errors.Is(err, fsm.ErrCompacted) && !p.isDead() {
		w.relist(p)
	}
}

// relist takes a new list instead of the events that are gone, as clients do after 410.
func (w *watcher) relist(p *process) {
	view := p.store.View()
	p.observe(view)
	w.at = max(w.at, view.Revision())
	p.history().count("watches compacted")
}

// check holds events, and the bookmark behind them, to the model.
func (w *watcher) check(p *process, events []fsm.Event, bookmark uint64) {
	p.observe(p.store.View())
	p.history().watched(p.server.name, w.resource, w.at, events, bookmark)
	w.at = max(w.at, bookmark)
}

// watched sees what a watch that has seen everything up to from shows next.
func (h *history) watched(server, resource string, from uint64, events []fsm.Event, bookmark uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations["events"] += len(events)
	want := h.model.between(resource, from, bookmark)
	if len(events) != len(want) {
		h.violate("%s: a watch of %s from revision %d to %d shows %d events, and should show %d",
			server, resource, from, bookmark, len(events), len(want))
		return
	}
	for i, e := range events {
		_, id := decode(e.Object.Raw)
		if got := (event{e.Object.Revision, e.Type, e.Object.Key, id}); got != want[i] {
			h.violate("%s: a watch of %s shows %v, and should show %v", server, resource, got, want[i])
		}
	}
}
