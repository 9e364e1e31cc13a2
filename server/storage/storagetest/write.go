package storagetest

import (
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/storage"
)

func testPreconditions(r *room) {
	there := r.configMap("a", "1")
	there.UID = "uid-1"
	first := r.must(r.op(fsm.Create, there))
	refused := func(what string, op fsm.Op, want error) {
		r.Helper()
		res := r.propose(op)[0]
		if !errors.Is(res.Err, want) {
			r.Errorf("%s: %v, want %v", what, res.Err, want)
		}
		if inTheWay := want != fsm.ErrNotFound; inTheWay != (res.Object != nil && res.Object.Revision == first.Revision) {
			r.Errorf("%s: the object in the way: %v", what, res.Object)
		}
	}
	changed := r.configMap("a", "2")
	changed.UID = "uid-1"
	none := r.configMap("none", "1")
	with := func(op fsm.Op, revision uint64, uid string) fsm.Op {
		op.IfRevision, op.IfUID = revision, uid
		return op
	}
	refused("create of what is there", r.op(fsm.Create, changed), fsm.ErrExists)
	refused("update of what is not", r.op(fsm.Update, none), fsm.ErrNotFound)
	refused("delete of what is not", r.op(fsm.Delete, none), fsm.ErrNotFound)
	for _, verb := range []fsm.Verb{fsm.Update, fsm.Delete} {
		refused(fmt.Sprint(verb, " at another revision"), with(r.op(verb, changed), first.Revision+1, ""), fsm.ErrConflict)
		refused(fmt.Sprint(verb, " of another UID"), with(r.op(verb, changed), 0, "uid-2"), fsm.ErrConflict)
		refused(fmt.Sprint(verb, " of another UID at the revision"), with(r.op(verb, changed), first.Revision, "uid-2"), fsm.ErrConflict)
	}
	if same := r.must(r.op(fsm.Update, there)); same.Revision != first.Revision {
		r.Errorf("an update that changes nothing made revision %d of %d", same.Revision, first.Revision)
	}
	second := r.must(with(r.op(fsm.Update, changed), first.Revision, "uid-1"))
	refusedNow := r.propose(with(r.op(fsm.Update, there), first.Revision, "uid-1"))[0]
	if !errors.Is(refusedNow.Err, fsm.ErrConflict) || refusedNow.Object.Revision != second.Revision {
		r.Errorf("a second update at the same revision: %+v", refusedNow)
	}
	gone := r.must(with(r.op(fsm.Delete, changed), second.Revision, "uid-1"))
	if second.Revision <= first.Revision || gone.Revision <= second.Revision {
		r.Errorf("revisions %d, %d, %d do not rise", first.Revision, second.Revision, gone.Revision)
	}
	if _, err := r.Read.Get(r.ctx, r.key("a"), ""); !errors.Is(err, fsm.ErrNotFound) {
		r.Errorf("get of what was deleted: %v", err)
	}
}

func testBatch(r *room) {
	old := r.create("old", "1")
	stale := r.op(fsm.Update, r.configMap("old", "2"))
	stale.IfRevision = old.Revision + 1000
	results := r.propose(
		r.op(fsm.Create, r.configMap("a", "1")), stale, r.op(fsm.Create, r.configMap("old", "3")),
		r.op(fsm.Delete, r.configMap("none", "")), r.op(fsm.Update, r.configMap("a", "2")), r.op(fsm.Create, r.configMap("b", "1")))
	for i, want := range []error{nil, fsm.ErrConflict, fsm.ErrExists, fsm.ErrNotFound, nil, nil} {
		if !errors.Is(results[i].Err, want) {
			r.Errorf("op %d: %v, want %v", i, results[i].Err, want)
		}
	}
	for _, s := range r.servers() {
		if got := contents(r.list(s, storage.ListOptions{}).Objects); got != "a=2 b=1 old=1" {
			r.Errorf("afterwards: %s", got)
		}
	}
}

// What was answered before a read began is in it, on every server.
func testReadsSeeWrites(r *room) {
	r.create("a", "0")
	for i := range 50 {
		written := r.update("a", fmt.Sprint("value-", i))
		for _, s := range r.servers() {
			o, err := s.Get(r.ctx, r.key("a"), "")
			if err != nil || o.Revision != written.Revision || content(o) != content(written) {
				r.Fatalf("get: %v, %v; want %s", o, err, content(written))
			}
			if page := r.list(s, storage.ListOptions{}); contents(page.Objects) != content(written) || page.Revision < written.Revision {
				r.Fatalf("list: %s at %d; want %s at %d", contents(page.Objects), page.Revision, content(written), written.Revision)
			}
		}
	}
}

func testOwners(r *room) {
	owner := r.create("owner", "")
	uid := types.UID(r.namespace + "-uid")
	owned := r.configMap("owned", "1")
	owned.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: owner.Name, UID: uid}}
	r.must(r.op(fsm.Create, owned))
	want := func(what, want string) {
		r.Helper()
		for _, s := range r.servers() {
			if err := s.Linearize(r.ctx); err != nil {
				r.Fatal(err)
			}
			var found []*fsm.Object
			for o := range s.View().ByIndex("", kinds.ByOwner, string(uid)) {
				found = append(found, o)
			}
			if got := contents(found); got != want {
				r.Errorf("%s: %q, want %q", what, got, want)
			}
		}
	}
	want("after the create", "owned=1")
	owned.Data["value"] = "2"
	r.must(r.op(fsm.Update, owned))
	want("after an update", "owned=2")
	r.update("owned", "3")
	want("without its owner", "")
	r.must(r.op(fsm.Update, owned))
	r.delete("owned")
	want("after the delete", "")
}

// One server encodes an object once for each revision and format, for whatever read asks first.
func testEncodings(r *room) {
	before := r.newest()
	o := r.create("a", "1")
	encoded := 0
	encode := func(fsm.Value) ([]byte, error) {
		encoded++
		return []byte("bytes"), nil
	}
	ask := func(o *fsm.Object) {
		r.Helper()
		if data, err := o.Encoded(encode); err != nil || string(data) != "bytes" {
			r.Fatalf("%q, %v", data, err)
		}
	}
	got, err := r.Read.Get(r.ctx, r.key("a"), "")
	if err != nil {
		r.Fatal(err)
	}
	ask(got)
	ask(r.list(r.Read, storage.ListOptions{}).Objects[0])
	ask(r.watch(r.Read, storage.ListOptions{ResourceVersion: rv(before)}).next().Object)
	ask(r.watch(r.Read, storage.ListOptions{}).next().Object)
	r.update("a", "2")
	exact := storage.ListOptions{ResourceVersion: rv(o.Revision), ResourceVersionMatch: metav1.ResourceVersionMatchExact}
	ask(r.list(r.Read, exact).Objects[0])
	if encoded != 1 {
		r.Errorf("encoded %d times", encoded)
	}
}
