package storagetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

func testWatchFrom(r *room) {
	start := r.newest()
	early := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(start)})
	a, b := r.create("a", "1"), r.create("b", "1")
	r.must(r.op(fsm.Create, r.pod("p", "")))
	b2 := r.update("b", "2")
	r.update("b", "2") // changes nothing
	gone := r.delete("a")
	a2 := r.create("a", "2")
	all := []string{did(fsm.Added, a), did(fsm.Added, b), did(fsm.Modified, b2), did(fsm.Deleted, gone), did(fsm.Added, a2)}
	early.want(all...)
	early.idle()
	for _, s := range r.servers() {
		if err := s.Linearize(r.ctx); err != nil {
			r.Fatal(err)
		}
		for from, rest := range map[uint64][]string{start: all, a.Revision: all[1:], b.Revision: all[2:], gone.Revision: all[4:], a2.Revision: nil} {
			w := r.watch(s, storage.ListOptions{ResourceVersion: rv(from)})
			w.want(rest...)
			w.idle()
		}
	}
}

// What enters or leaves the selection is added or deleted, and is shown as it was while it was in it.
func testWatchSelection(r *room) {
	o := r.selecting("app=web", "")
	o.ResourceVersion = rv(r.newest())
	byLabel := r.watch(r.Read, o)
	o = r.selecting("", "metadata.name=b")
	o.ResourceVersion = rv(r.newest())
	byName := r.watch(r.Read, o)
	r.create("a", "1", "app=db")
	enters := r.update("a", "2", "app=web")
	stays := r.update("a", "3", "app=web")
	born := r.create("b", "1", "app=web")
	leaves := r.update("a", "4", "app=db")
	r.update("a", "5", "app=db")
	r.delete("a")
	dies := r.delete("b")
	byLabel.want(did(fsm.Added, enters), did(fsm.Modified, stays), did(fsm.Added, born))
	left := byLabel.next()
	if spell(left) != fmt.Sprintf("DELETED a=3 @%d", leaves.Revision) || left.Object.Value.GetResourceVersion() != rv(leaves.Revision) {
		r.Errorf("left the selection: %s, resource version %s", spell(left), left.Object.Value.GetResourceVersion())
	}
	byLabel.want(did(fsm.Deleted, dies))
	byLabel.idle()
	byName.want(did(fsm.Added, born), did(fsm.Deleted, dies))
	byName.idle()
}

// A DELETED event carries the deletion's revision, on the event and on the object: a watch can start there.
func testDeleted(r *room) {
	r.create("a", "1")
	last := r.update("a", "2")
	w := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(last.Revision)})
	gone := r.delete("a")
	e := w.next()
	if e.Type != fsm.Deleted || e.Revision != gone.Revision || e.Object.Revision != gone.Revision || content(e.Object) != "a=2" ||
		e.Object.Value.GetResourceVersion() != rv(gone.Revision) || gone.Revision <= last.Revision {
		r.Errorf("%s: object's revision %d, resource version %s; want %d", spell(e), e.Object.Revision, e.Object.Value.GetResourceVersion(), gone.Revision)
	}
}

// KEP-3157: what is there, a bookmark that ends it, and then every change.
func testInitialEvents(r *room) {
	const objects = 1100 // more than one batch
	for n := 0; n < objects; n += objects / 4 {
		var ops []fsm.Op
		for i := range objects / 4 {
			ops = append(ops, r.op(fsm.Create, r.configMap(fmt.Sprintf("m%04d", n+i), "1")))
		}
		r.propose(ops...)
	}
	there := r.list(r.Read, storage.ListOptions{})
	yes := true
	for _, o := range []storage.ListOptions{
		{SendInitialEvents: &yes, ResourceVersionMatch: notOlderThan, AllowWatchBookmarks: true},
		{SendInitialEvents: &yes, ResourceVersionMatch: notOlderThan, AllowWatchBookmarks: true, ResourceVersion: rv(there.Revision)},
	} {
		for _, s := range r.servers() {
			w := r.watch(s, o)
			later := r.update("m0000", rv(r.newest())) // while the initial events are on their way
			for _, o := range there.Objects {
				e := w.next()
				if e.Type != fsm.Added || e.Object.Name != o.Name || e.Revision != o.Revision && o.Name != "m0000" {
					r.Fatalf("%s instead of %s", spell(e), did(fsm.Added, o))
				}
			}
			mark := w.next()
			if mark.Type != storage.Bookmark || !mark.InitialEnd || mark.Revision < there.Revision || mark.Revision >= later.Revision {
				r.Fatalf("%+v after the initial events", mark)
			}
			for at := mark.Revision; at < later.Revision; { // the state was not older than asked, but perhaps than the last update
				e := w.next()
				if e.Type != fsm.Modified || e.Object.Name != "m0000" || e.Revision <= at {
					r.Fatalf("%s after %d", spell(e), at)
				}
				at = e.Revision
			}
		}
	}
}

// Every other way to start, with and without bookmarks.
func testStarts(r *room) {
	a := r.create("a", "1")
	yes, no := true, false
	initial, none := []string{did(fsm.Added, a)}, []string{}
	for _, test := range []struct {
		o      storage.ListOptions
		want   []string
		marked bool
	}{
		{storage.ListOptions{}, initial, false},
		{storage.ListOptions{AllowWatchBookmarks: true}, initial, true}, // as Kubernetes defaults it
		{storage.ListOptions{ResourceVersion: "0"}, initial, false},
		{storage.ListOptions{ResourceVersion: "0", AllowWatchBookmarks: true}, initial, true},
		{storage.ListOptions{SendInitialEvents: &yes, ResourceVersionMatch: notOlderThan}, initial, false},
		{storage.ListOptions{SendInitialEvents: &yes, ResourceVersionMatch: notOlderThan, ResourceVersion: "0", AllowWatchBookmarks: true}, initial, true},
		{storage.ListOptions{SendInitialEvents: &no, ResourceVersionMatch: notOlderThan}, none, false},
		{storage.ListOptions{SendInitialEvents: &no, ResourceVersionMatch: notOlderThan, ResourceVersion: "0"}, none, false},
		{storage.ListOptions{SendInitialEvents: &no, ResourceVersionMatch: notOlderThan, ResourceVersion: rv(a.Revision - 1)}, initial, false},
		{storage.ListOptions{SendInitialEvents: &yes, ResourceVersionMatch: notOlderThan, ResourceVersion: rv(a.Revision - 1)}, initial, false},
		{storage.ListOptions{ResourceVersion: rv(a.Revision)}, none, false},
	} {
		for _, s := range r.servers() {
			if err := s.Linearize(r.ctx); err != nil { // "0" is any state
				r.Fatal(err)
			}
			w := r.watch(s, test.o)
			w.want(test.want...)
			if test.marked {
				if mark := w.next(); mark.Type != storage.Bookmark || !mark.InitialEnd || mark.Revision < a.Revision {
					r.Errorf("%+v: %+v", test.o, mark)
				}
			}
			w.idle()
		}
	}
}

// A bookmark tells how far the watch is, though nothing in its scope changed; who starts there misses nothing.
func testBookmarks(r *room) {
	start := r.newest()
	w := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(start), AllowWatchBookmarks: true})
	silent := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(start)})
	p := r.must(r.op(fsm.Create, r.pod("p", "")))
	mark := w.next()
	if mark.Type != storage.Bookmark || mark.InitialEnd || mark.Revision != p.Revision {
		r.Fatalf("%+v, want revision %d", mark, p.Revision)
	}
	if _, ok := w.Progress(); ok {
		r.Error("progress without any")
	}
	silent.idle()
	if _, ok := silent.Progress(); ok {
		r.Error("a bookmark that nobody asked for")
	}
	for _, s := range r.servers() {
		resumed := r.watch(s, storage.ListOptions{ResourceVersion: rv(mark.Revision)})
		a := r.create("a", "1")
		resumed.want(did(fsm.Added, a))
		mark.Revision = r.delete("a").Revision
	}
	p = r.must(r.op(fsm.Update, r.pod("p", "n")))
	for e := w.next(); e.Revision < p.Revision; e = w.next() {
	}
	w.idle()
	if mark, ok := w.Progress(); ok {
		r.Errorf("%+v after all is known", mark)
	}
	late := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(r.newest()), AllowWatchBookmarks: true})
	unsent := r.create("unsent", "1")
	r.newest()
	if mark, ok := late.Progress(); ok && mark.Revision >= unsent.Revision {
		r.Errorf("%+v promises an event of %d that was not sent", mark, unsent.Revision)
	}
}

// Changes that the selectors keep from a client must not keep the bookmarks from it as well.
func testQuietBookmarks(r *room) {
	o := r.selecting("app=none", "")
	o.ResourceVersion, o.AllowWatchBookmarks = rv(r.newest()), true
	w := r.watch(r.Read, o)
	r.create("a", "")
	var writer sync.WaitGroup
	defer writer.Wait()
	writer.Go(func() {
		for i := range EventLog / 4 {
			if _, err := r.Write.Propose(r.ctx, []fsm.Op{r.op(fsm.Update, r.configMap("a", fmt.Sprint(i)))}); err != nil {
				r.Error(err)
				return
			}
		}
	})
	last := uint64(0)
	for range 2 {
		mark := w.next()
		if mark.Type != storage.Bookmark || mark.Revision <= last {
			r.Fatalf("%s after %d", spell(mark), last)
		}
		if last = mark.Revision; last >= r.newest() {
			return // it is as far as can be
		}
	}
}

func testSlowWatcher(r *room) {
	start := r.newest()
	slow := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(start)})
	r.forget(start)
	if events, err := slow.Next(r.ctx); !is[*storage.ExpiredError](err) {
		r.Errorf("%d events, %v", len(events), err)
	}
	quiet, err := r.Read.Watch(r.ctx, r.pods(), storage.ListOptions{ResourceVersion: rv(start)})
	if err != nil {
		r.Fatalf("another resource's changes have used up the history: %v", err)
	}
	if _, ok := quiet.Progress(); ok {
		r.Error("a bookmark that nobody asked for")
	}
}

// Whoever has seen an event and reads, on the same server, sees at least that, without asking for the newest.
func testMonotonic(r *room) {
	w := r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(r.newest())})
	var writer sync.WaitGroup
	defer writer.Wait()
	const writes = 100
	r.create("a", "")
	writer.Go(func() {
		for i := range writes {
			if _, err := r.Write.Propose(r.ctx, []fsm.Op{r.op(fsm.Update, r.configMap("a", fmt.Sprint(i)))}); err != nil {
				r.Error(err)
				return
			}
		}
	})
	for range writes + 1 {
		e := w.next()
		o, err := r.Read.Get(r.ctx, r.key("a"), "0")
		if err != nil || o.Revision < e.Revision || r.Read.View().Revision() < e.Revision {
			r.Fatalf("after %s a get shows %v, %v", spell(e), o, err)
		}
		page := r.list(r.Read, storage.ListOptions{ResourceVersion: "0"})
		if page.Revision < e.Revision || page.Objects[0].Revision < o.Revision {
			r.Fatalf("after %s a list shows %s at %d", spell(e), contents(page.Objects), page.Revision)
		}
	}
}

// A client that goes on elsewhere where it has stopped sees every change once.
func testResume(r *room) {
	at := r.newest()
	const writes = 60
	results := make([]fsm.Result, 0, writes)
	var writer sync.WaitGroup
	defer writer.Wait()
	done := make(chan struct{})
	writer.Go(func() {
		defer close(done)
		for i := range writes {
			res, err := r.Write.Propose(r.ctx, []fsm.Op{r.op(fsm.Create, r.configMap(fmt.Sprintf("m%02d", i), ""))})
			if err != nil || res[0].Err != nil {
				r.Error(errors.Join(err, res[0].Err))
				return
			}
			results = append(results, res[0])
		}
	})
	servers := r.servers()
	var seen []uint64
	for n := 0; len(seen) < writes; n++ {
		w := r.watch(servers[n%len(servers)], storage.ListOptions{ResourceVersion: rv(at)})
		for range min(7, writes-len(seen)) {
			at = w.next().Revision
			seen = append(seen, at)
		}
	}
	<-done
	for i, res := range results {
		if seen[i] != res.Object.Revision {
			r.Fatalf("event %d is of revision %d, the write was %d", i, seen[i], res.Object.Revision)
		}
	}
}
