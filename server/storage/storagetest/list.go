package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

const (
	exact        = metav1.ResourceVersionMatchExact
	notOlderThan = metav1.ResourceVersionMatchNotOlderThan
)

func testSelectors(r *room) {
	for _, o := range [][]string{{"a", "app=web", "tier=1"}, {"b", "app=web"}, {"c", "app=db"}, {"d"}} {
		r.create(o[0], "1", o[1:]...)
	}
	for _, test := range []struct{ labels, fields, want string }{
		{"", "", "a=1 b=1 c=1 d=1"},
		{"app=web", "", "a=1 b=1"},
		{"app=web,!tier", "", "b=1"},
		{"app in (web,db),tier notin (1)", "", "b=1 c=1"},
		{"app!=web", "", "c=1 d=1"},
		{"", "metadata.name=b", "b=1"},
		{"", "metadata.name!=b", "a=1 c=1 d=1"},
		{"app=web", "metadata.name!=b", "a=1"},
		{"app=db", "metadata.name=b", ""},
		{"", "metadata.name=b,metadata.name!=b", ""},
		{"", "metadata.namespace=" + r.namespace, "a=1 b=1 c=1 d=1"},
		{"", "metadata.namespace=elsewhere", ""},
		{"", "metadata.name=none", ""},
	} {
		for _, s := range r.servers() {
			if got := contents(r.list(s, r.selecting(test.labels, test.fields)).Objects); got != test.want {
				r.Errorf("%q %q: %q, want %q", test.labels, test.fields, got, test.want)
			}
		}
	}
	for name, node := range map[string]string{"p1": "n1", "p2": "n2", "p3": "n1", "p4": ""} {
		r.must(r.op(fsm.Create, r.pod(name, node)))
	}
	before := r.newest()
	r.must(r.op(fsm.Delete, r.pod("p1", "")))
	for field, want := range map[string]string{
		"spec.nodeName=n1": "[p1 p3]", "spec.nodeName=": "[p4]", "spec.nodeName!=n1": "[p2 p4]", "status.phase=Pending": "[]",
		"status.phase!=Pending,spec.nodeName=n2": "[p2]",
	} {
		for limit := range int64(2) { // in pages of one, or whole
			if got := fmt.Sprint(r.podsAt(before, field, limit)); got != want {
				r.Errorf("%s: %s, want %s", field, got, want)
			}
		}
	}
	stranger := r.pod("p3", "n1")
	stranger.Namespace += "-next"
	r.propose(r.op(fsm.Create, stranger), r.op(fsm.Create, r.pod("p5", "n1")))
	for limit := range int64(2) {
		if got := fmt.Sprint(r.podsAt(r.newest(), "spec.nodeName=n1", limit)); got != "[p3 p5]" {
			r.Errorf("now: %s", got)
		}
	}
	behind := r.selecting("", "metadata.name=a") // what a token has left behind does not come again
	behind.Continue = r.list(r.Read, storage.ListOptions{Limit: 1}).Continue
	if got := contents(r.list(r.Read, behind).Objects); got != "" {
		r.Errorf("behind a: %s", got)
	}
}

func (r *room) pod(name, node string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: r.namespace, Name: name}, Spec: corev1.PodSpec{NodeName: node}}
}

// podsAt lists the test's pods as they were at revision, in pages if limit is not zero.
func (r *room) podsAt(revision uint64, field string, limit int64) []string {
	r.Helper()
	o := r.selecting("", field)
	o.ResourceVersion, o.ResourceVersionMatch, o.Limit = rv(revision), exact, limit
	all := []string{}
	for {
		page, err := r.Read.List(r.ctx, r.pods(), o)
		if err != nil {
			r.Fatal(err)
		}
		all = append(all, names(page.Objects)...)
		if page.Continue == "" {
			return all
		}
		if page.Continue == o.Continue {
			r.Fatalf("a page that goes on where it began: %v", names(page.Objects))
		}
		o.ResourceVersion, o.ResourceVersionMatch, o.Continue = "", "", page.Continue
	}
}

// All pages are of the first one's revision, wherever they are taken and whatever is written meanwhile.
func testPages(r *room) {
	const objects, limit, writes = 40, 7, 200
	var ops []fsm.Op
	for i := range objects {
		ops = append(ops, r.op(fsm.Create, r.configMap(fmt.Sprintf("m%02d", i), "1")))
	}
	r.propose(ops...)
	var writers sync.WaitGroup
	defer writers.Wait()
	writers.Go(func() {
		for i := range writes {
			name := fmt.Sprintf("m%02d", i*7%(objects+20))
			verb := []fsm.Verb{fsm.Update, fsm.Delete, fsm.Create}[i%3]
			if _, err := r.Write.Propose(r.ctx, []fsm.Op{r.op(verb, r.configMap(name, fmt.Sprint(i)))}); err != nil {
				r.Error(err)
				return
			}
		}
	})
	for range 5 {
		pages := r.pages(limit)
		first := pages[0]
		whole := r.list(r.Read, storage.ListOptions{ResourceVersion: rv(first.Revision), ResourceVersionMatch: exact})
		var paged []*fsm.Object
		for i, page := range pages {
			if paged = append(paged, page.Objects...); page.Revision != first.Revision {
				r.Errorf("page %d is of revision %d, not %d", i, page.Revision, first.Revision)
			}
			rest := int64(len(whole.Objects) - len(paged))
			if (rest > 0) != (page.Remaining != nil) || rest > 0 && *page.Remaining != rest {
				r.Errorf("page %d: %v remain, want %d", i, page.Remaining, rest)
			}
		}
		if got, want := contents(paged), contents(whole.Objects); got != want || len(paged) == 0 {
			r.Errorf("in pages: %s\nat once:  %s", got, want)
		}
	}
}

// pages lists everything, each page on the next server.
func (r *room) pages(limit int64) []storage.Page {
	r.Helper()
	var pages []storage.Page
	servers := r.servers()
	for o := (storage.ListOptions{Limit: limit}); ; {
		page := r.list(servers[len(pages)%len(servers)], o)
		if pages = append(pages, page); page.Continue == "" {
			return pages
		}
		if len(page.Objects) != int(limit) || page.Continue == o.Continue {
			r.Fatalf("a page of %d that is not the last goes on at %s", len(page.Objects), page.Continue)
		}
		o.Continue = page.Continue
	}
}

func testGetVersions(r *room) {
	first := r.create("a", "1")
	second := r.update("a", "2")
	for _, s := range r.servers() {
		for _, version := range []string{rv(second.Revision), rv(first.Revision), ""} { // "" last: it would bring the rest up to date
			o, err := s.Get(r.ctx, r.key("a"), version)
			if err != nil || version != rv(first.Revision) && o.Revision != second.Revision || o.Revision < first.Revision {
				r.Errorf("get at %q: %v, %v", version, o, err)
			}
		}
		if o, err := s.Get(r.ctx, r.key("a"), "0"); err != nil || o.Revision != second.Revision {
			r.Errorf("get of any: %v, %v", o, err)
		}
		if _, err := s.Get(r.ctx, r.key("a"), "x"); !errors.Is(err, storage.ErrBadOptions) {
			r.Errorf("get at x: %v", err)
		}
		if _, err := s.Get(r.ctx, r.key("none"), ""); !errors.Is(err, fsm.ErrNotFound) {
			r.Errorf("get of none: %v", err)
		}
	}
}

// The table "Semantics for get and list" of Kubernetes' documentation.
func testListVersions(r *room) {
	history := []struct {
		at   uint64
		want string
	}{
		{r.newest(), ""},
		{r.create("a", "1").Revision, "a=1"},
		{r.create("b", "1").Revision, "a=1 b=1"},
		{r.update("a", "2").Revision, "a=2 b=1"},
		{r.delete("b").Revision, "a=2"},
		{r.create("b", "3").Revision, "a=2 b=3"},
		{r.create("c", "1").Revision, "a=2 b=3 c=1"},
		{r.must(r.op(fsm.Create, r.pod("p", ""))).Revision, "a=2 b=3 c=1"},
	}
	now := history[len(history)-1]
	check := func(o storage.ListOptions, at uint64, exactly bool, want string) {
		r.Helper()
		for _, s := range r.servers() {
			page := r.list(s, o)
			if got := contents(page.Objects); got != want || page.Revision < at || exactly && page.Revision != at {
				r.Errorf("%q %q limit %d: %q at %d; want %q at %d", o.ResourceVersion, o.ResourceVersionMatch, o.Limit, got, page.Revision, want, at)
			}
		}
	}
	check(storage.ListOptions{}, now.at, false, now.want)
	for _, limit := range []int64{0, 10, -1} {
		for _, then := range history {
			check(storage.ListOptions{ResourceVersion: rv(then.at), ResourceVersionMatch: exact, Limit: limit}, then.at, true, then.want)
			check(storage.ListOptions{ResourceVersion: rv(then.at), ResourceVersionMatch: notOlderThan, Limit: limit}, now.at, false, now.want)
			if limit > 0 { // as Kubernetes has always done
				check(storage.ListOptions{ResourceVersion: rv(then.at), Limit: limit}, then.at, true, then.want)
			} else {
				check(storage.ListOptions{ResourceVersion: rv(then.at), Limit: limit}, now.at, false, now.want)
			}
		}
		check(storage.ListOptions{Limit: limit}, now.at, false, now.want)
		check(storage.ListOptions{ResourceVersion: "0", Limit: limit}, now.at, false, now.want)
		check(storage.ListOptions{ResourceVersion: "0", ResourceVersionMatch: notOlderThan, Limit: limit}, now.at, false, now.want)
	}
	page := r.list(r.Read, storage.ListOptions{ResourceVersion: rv(history[2].at), Limit: 1})
	check(storage.ListOptions{Continue: page.Continue}, history[2].at, true, "b=1")
	check(storage.ListOptions{Continue: page.Continue, ResourceVersion: "0", Limit: 1}, history[2].at, true, "b=1")
}

// A revision that no server has reached is waited for; here the client's patience is at its end.
func testFuture(r *room) {
	ended, cancel := context.WithCancel(r.ctx)
	cancel()
	now := r.newest()
	want := func(what string, err error) {
		r.Helper()
		var tooLarge *storage.TooLargeError
		if !errors.As(err, &tooLarge) || tooLarge.Want != now+1000 || tooLarge.Have < now {
			r.Errorf("%s: %v", what, err)
		}
	}
	future := rv(now + 1000)
	_, err := r.Read.Get(ended, r.key("a"), future)
	want("get", err)
	for _, o := range []storage.ListOptions{
		{ResourceVersion: future}, {ResourceVersion: future, Limit: 1}, {ResourceVersion: future, ResourceVersionMatch: exact},
		{ResourceVersion: future, ResourceVersionMatch: notOlderThan},
	} {
		_, err := r.Read.List(ended, r.scope(), o)
		want(fmt.Sprintf("list %+v", o), err)
	}
	yes := true
	_, err = r.Read.Watch(ended, r.scope(), storage.ListOptions{ResourceVersion: future, ResourceVersionMatch: notOlderThan, SendInitialEvents: &yes})
	want("watch", err)
}

func testBadOptions(r *room) {
	yes := true
	r.create("a", "1")
	r.create("b", "1")
	token := r.list(r.Read, storage.ListOptions{Limit: 1}).Continue
	invalid := []storage.ListOptions{
		{ResourceVersionMatch: exact}, {ResourceVersionMatch: notOlderThan}, {ResourceVersion: "0", ResourceVersionMatch: exact},
		{ResourceVersion: "1", ResourceVersionMatch: "Nope"}, {Continue: token, ResourceVersion: "1", ResourceVersionMatch: exact},
		{SendInitialEvents: &yes},
	}
	bad := []storage.ListOptions{
		{ResourceVersion: "x"}, {ResourceVersion: "-1"}, {Continue: "x"}, {Continue: token[1:]}, {Continue: token, ResourceVersion: "1"},
		r.selecting("", "spec.none=x"),
	}
	for _, o := range invalid {
		if _, err := r.Read.List(r.ctx, r.scope(), o); !is[*storage.InvalidError](err) {
			r.Errorf("list %+v: %v", o, err)
		}
	}
	for _, o := range bad {
		if _, err := r.Read.List(r.ctx, r.scope(), o); !errors.Is(err, storage.ErrBadOptions) {
			r.Errorf("list %+v: %v", o, err)
		}
	}
	for _, o := range []storage.ListOptions{
		{SendInitialEvents: &yes}, {SendInitialEvents: &yes, ResourceVersionMatch: exact},
		{ResourceVersionMatch: notOlderThan}, {ResourceVersion: "1", ResourceVersionMatch: exact},
	} {
		if _, err := r.Read.Watch(r.ctx, r.scope(), o); !is[*storage.InvalidError](err) {
			r.Errorf("watch %+v: %v", o, err)
		}
	}
	for _, o := range []storage.ListOptions{{ResourceVersion: "x"}, r.selecting("", "spec.none=x")} {
		if _, err := r.Read.Watch(r.ctx, r.scope(), o); !errors.Is(err, storage.ErrBadOptions) {
			r.Errorf("watch %+v: %v", o, err)
		}
	}
}

// forget writes to the resource until the history after revision is gone, on every server that reads go to.
func (r *room) forget(revision uint64) {
	r.Helper()
	r.propose(r.op(fsm.Create, r.configMap("noise", "")))
	for n := range 100 {
		var ops []fsm.Op
		for i := range EventLog / 2 {
			ops = append(ops, r.op(fsm.Update, r.configMap("noise", fmt.Sprint(n, i))))
		}
		r.propose(ops...)
		r.newest() // the servers have it
		if slices.ContainsFunc(r.servers(), func(s *storage.Store) bool { return !r.forgotten(s, revision) }) {
			continue
		}
		return
	}
	r.Fatal("history is kept without a bound")
}

func (r *room) forgotten(s *storage.Store, revision uint64) bool {
	r.Helper()
	if err := s.Linearize(r.ctx); err != nil {
		r.Fatal(err)
	}
	_, err := s.Watch(r.ctx, r.scope(), storage.ListOptions{ResourceVersion: rv(revision)})
	return is[*storage.ExpiredError](err)
}

// 410: the client lists again, or goes on with the offered token.
func testExpired(r *room) {
	for _, name := range []string{"a", "c", "d"} {
		r.create(name, "1")
	}
	page := r.list(r.Read, storage.ListOptions{Limit: 1})
	r.create("b", "1")
	r.delete("c")
	r.forget(page.Revision)
	for _, s := range r.servers() {
		for _, o := range []storage.ListOptions{
			{ResourceVersion: rv(page.Revision), ResourceVersionMatch: exact}, {ResourceVersion: rv(page.Revision), Limit: 1},
		} {
			if _, err := s.List(r.ctx, r.scope(), o); !is[*storage.ExpiredError](err) {
				r.Errorf("list %+v: %v", o, err)
			}
		}
		var expired *storage.ExpiredError
		_, err := s.List(r.ctx, r.scope(), storage.ListOptions{Continue: page.Continue, Limit: 2})
		if !errors.As(err, &expired) || expired.Continue == "" {
			r.Fatalf("continue: %v", err)
		}
		rest := r.list(s, storage.ListOptions{Continue: expired.Continue, Limit: 2})
		if got := contents(rest.Objects); got != "b=1 d=1" || rest.Revision <= page.Revision || rest.Continue == "" {
			r.Errorf("the rest: %s at %d", got, rest.Revision)
		}
		if last := r.list(s, storage.ListOptions{Continue: rest.Continue}); last.Revision != rest.Revision || fmt.Sprint(names(last.Objects)) != "[noise]" {
			r.Errorf("the end: %v at %d, not %d", names(last.Objects), last.Revision, rest.Revision)
		}
	}
}
