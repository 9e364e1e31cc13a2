package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func decode(raw []byte) (fsm.Value, error) {
	cm := &corev1.ConfigMap{}
	return cm, cm.Unmarshal(raw)
}

// schema has two resources; configmaps are indexed by their value, and both by owner.
func schema() *fsm.Schema {
	owners := func(v fsm.Value) []string {
		var uids []string
		for _, o := range v.GetOwnerReferences() {
			uids = append(uids, string(o.UID))
		}
		return uids
	}
	byValue := func(v fsm.Value) []string { return []string{v.(*corev1.ConfigMap).Data["value"]} }
	return fsm.NewSchema(map[string]fsm.IndexFunc{"owner": owners},
		fsm.Resource{Name: "configmaps", Decode: decode, Indexes: map[string]fsm.IndexFunc{"value": byValue}},
		fsm.Resource{Name: "others.example.com", Decode: decode})
}

func newStore() *fsm.Store { return fsm.New(schema(), 0) }

type object struct {
	resource, namespace, name, value, uid string
	owners                                []string
}

func (o object) raw() []byte {
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: o.namespace, Name: o.name, UID: types.UID(o.uid)},
		Data:       map[string]string{"value": o.value},
	}
	for _, uid := range o.owners {
		cm.OwnerReferences = append(cm.OwnerReferences, metav1.OwnerReference{UID: types.UID(uid)})
	}
	raw, err := cm.Marshal()
	if err != nil {
		panic(err) // cannot fail for these
	}
	return raw
}

func (o object) op(verb fsm.Verb) fsm.Op {
	if o.resource == "" {
		o.resource = "configmaps"
	}
	return fsm.Op{Verb: verb, Resource: o.resource, Namespace: o.namespace, Name: o.name, Raw: o.raw()}
}

func cm(namespace, name, value string) object {
	return object{namespace: namespace, name: name, value: value}
}

func create(o object) fsm.Op { return o.op(fsm.Create) }
func update(o object) fsm.Op { return o.op(fsm.Update) }
func remove(o object) fsm.Op { op := o.op(fsm.Delete); op.Raw = nil; return op }

// apply applies ops as the next entry of the log.
func apply(t testing.TB, s *fsm.Store, ops ...fsm.Op) []fsm.Result {
	t.Helper()
	data, err := fsm.Command{Ops: ops}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	results, err := s.Apply(s.View().Index()+1, data)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func names(seq func(func(*fsm.Object) bool)) []string {
	var out []string
	for o := range seq {
		out = append(out, o.Namespace+"/"+o.Name)
	}
	return out
}

func TestPreconditions(t *testing.T) {
	with := func(op fsm.Op, change func(*fsm.Op)) fsm.Op { change(&op); return op }
	there := object{namespace: "ns", name: "a", value: "1", uid: "u1"}
	changed := object{namespace: "ns", name: "a", value: "2", uid: "u1"}
	for _, test := range []struct {
		name     string
		op       fsm.Op
		want     error
		revision uint64
	}{
		{"create new", create(cm("ns", "b", "1")), nil, 2},
		{"create existing", create(changed), fsm.ErrExists, 1},
		{"update", update(changed), nil, 2},
		{"update to the same", update(there), nil, 1},
		{"update missing", update(cm("ns", "b", "1")), fsm.ErrNotFound, 1},
		{"update at the revision", with(update(changed), func(o *fsm.Op) { o.IfRevision = 1 }), nil, 2},
		{"update at another", with(update(changed), func(o *fsm.Op) { o.IfRevision = 7 }), fsm.ErrConflict, 1},
		{"same at another", with(update(there), func(o *fsm.Op) { o.IfRevision = 7 }), fsm.ErrConflict, 1},
		{"update of the UID", with(update(changed), func(o *fsm.Op) { o.IfUID = "u1" }), nil, 2},
		{"update of another UID", with(update(changed), func(o *fsm.Op) { o.IfUID = "u2" }), fsm.ErrConflict, 1},
		{"delete", remove(there), nil, 2},
		{"delete missing", remove(cm("ns", "b", "")), fsm.ErrNotFound, 1},
		{"delete of another UID", with(remove(there), func(o *fsm.Op) { o.IfUID = "u2" }), fsm.ErrConflict, 1},
		{"unknown resource", create(object{resource: "x", name: "a"}), fsm.ErrUnknownResource, 1},
		{"undecodable", with(create(cm("ns", "b", "")), func(o *fsm.Op) { o.Raw = []byte{255} }), fsm.ErrUndecodable, 1},
		{"undecodable last state", with(remove(there), func(o *fsm.Op) { o.Raw = []byte{255} }), fsm.ErrUndecodable, 1},
		{"no name", create(cm("ns", "", "")), fsm.ErrBadName, 1},
		{"separator in the name", create(cm("ns", "a\x00b", "")), fsm.ErrBadName, 1},
		{"separator in the namespace", create(cm("n\x00s", "a", "")), fsm.ErrBadName, 1},
		{"unknown verb", with(create(cm("ns", "b", "")), func(o *fsm.Op) { o.Verb = 9 }), fsm.ErrUndecodable, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStore()
			apply(t, s, create(there))
			got := apply(t, s, test.op)[0]
			if !errors.Is(got.Err, test.want) {
				t.Errorf("error %v, want %v", got.Err, test.want)
			}
			if r := s.View().Revision(); r != test.revision {
				t.Errorf("revision %d, want %d", r, test.revision)
			}
			if errors.Is(test.want, fsm.ErrConflict) && (got.Object == nil || got.Object.Revision != 1) {
				t.Errorf("a conflict must show what stood in the way: %+v", got.Object)
			}
			if s.View().Index() != 2 {
				t.Errorf("index %d, want 2", s.View().Index())
			}
		})
	}
}

func TestAConflictFailsItsOwnOpOnly(t *testing.T) {
	s := newStore()
	got := apply(t, s, create(cm("ns", "a", "1")), create(cm("ns", "a", "2")), create(cm("ns", "b", "3")),
		remove(cm("ns", "a", "")))
	for i, want := range []error{nil, fsm.ErrExists, nil, nil} {
		if !errors.Is(got[i].Err, want) {
			t.Errorf("op %d: %v, want %v", i, got[i].Err, want)
		}
	}
	if got[3].Object.Revision != 3 || got[3].Object.Value.GetResourceVersion() != "3" {
		t.Errorf("the deletion's revision: %+v", got[3].Object)
	}
	if diff := cmp.Diff([]string{"ns/b"}, names(s.View().All())); diff != "" {
		t.Error(diff)
	}
}

func TestDeleteShowsTheFinalState(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("ns", "a", "first")))
	got := apply(t, s, cm("ns", "a", "last").op(fsm.Delete))[0]
	if v := got.Object.Value.(*corev1.ConfigMap).Data["value"]; v != "last" {
		t.Errorf("final state %q", v)
	}
}

func TestListOrderAndPages(t *testing.T) {
	s := newStore()
	for _, o := range []object{cm("b", "x", ""), cm("a-b", "x", ""), cm("a", "xy", ""), cm("a", "x", ""),
		cm("a", "x-y", ""), cm("c", "x", ""), {resource: "others.example.com", name: "x"}} {
		apply(t, s, create(o))
	}
	all := []string{"a/x", "a/x-y", "a/xy", "a-b/x", "b/x", "c/x"}
	v := s.View()
	for namespace, want := range map[string][]string{"": all, "a": all[:3], "b": {"b/x"}, "d": nil} {
		if diff := cmp.Diff(want, names(v.List("configmaps", namespace))); diff != "" {
			t.Errorf("list of %q: %s", namespace, diff)
		}
		for size := 1; size <= len(all); size++ {
			if diff := cmp.Diff(want, pages(v, namespace, size)); diff != "" {
				t.Errorf("pages of %d of %q: %s", size, namespace, diff)
			}
		}
	}
	if got := names(v.ListFrom("configmaps", "", fsm.Key{Namespace: "a", Name: "xa"})); !slices.Equal(got, all[2:]) {
		t.Errorf("from an object that is not there: %v", got)
	}
}

// pages lists as the API does: size objects, then again from the first one left.
func pages(v fsm.View, namespace string, size int) []string {
	var out []string
	var from fsm.Key
	for more := true; more; {
		more = false
		count := 0
		for o := range v.ListFrom("configmaps", namespace, from) {
			if count == size {
				from, more = o.Key, true
				break
			}
			count++
			out = append(out, o.Namespace+"/"+o.Name)
		}
	}
	return out
}

func TestIndexes(t *testing.T) {
	s := newStore()
	owned := func(resource, name, value string, owners ...string) object {
		return object{resource: resource, namespace: "ns", name: name, value: value, owners: owners}
	}
	apply(t, s, create(owned("configmaps", "a", "red", "u1")), create(owned("configmaps", "b", "red", "u1", "u2")),
		create(owned("others.example.com", "c", "red", "u1")), create(owned("configmaps", "d", "red\x00x")))
	check := func(resource, index, value string, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, names(s.View().ByIndex(resource, index, value))); diff != "" {
			t.Errorf("%s %s=%s: %s", resource, index, value, diff)
		}
	}
	check("configmaps", "value", "red", "ns/a", "ns/b")
	check("configmaps", "value", "re")
	check("", "owner", "u1", "ns/a", "ns/b", "ns/c")
	apply(t, s, update(owned("configmaps", "a", "blue", "u2")), remove(owned("configmaps", "b", "")))
	check("configmaps", "value", "red")
	check("configmaps", "value", "blue", "ns/a")
	check("", "owner", "u1", "ns/c")
	check("", "owner", "u2", "ns/a")
	restored := newStore()
	if err := restored.Restore(bytes.NewReader(snapshot(t, s))); err != nil {
		t.Fatal(err)
	}
	s = restored
	check("", "owner", "u2", "ns/a")
	check("configmaps", "value", "blue", "ns/a")
}

func TestViewsDoNotChange(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("ns", "a", "1")))
	before := s.View()
	digest := before.Digest()
	apply(t, s, update(cm("ns", "a", "2")), create(cm("ns", "b", "1")))
	if before.Len() != 1 || before.Digest() != digest || before.Revision() != 1 {
		t.Error("an old view has changed")
	}
	if s.View().Digest() == digest {
		t.Error("the digest did not change with the state")
	}
}

func TestEncodedOnce(t *testing.T) {
	s := newStore()
	o := apply(t, s, create(cm("ns", "a", "1")))[0].Object
	calls := 0
	for range 3 {
		data, err := o.Encoded(func(fsm.Value) ([]byte, error) { calls++; return []byte("x"), nil })
		if string(data) != "x" || err != nil {
			t.Errorf("%q, %v", data, err)
		}
	}
	if calls != 1 {
		t.Errorf("encoded %d times", calls)
	}
}

func TestUnreadableEntries(t *testing.T) {
	s := newStore()
	apply(t, s, create(cm("ns", "a", "1")))
	good, err := fsm.Command{Ops: []fsm.Op{create(cm("ns", "b", "1"))}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	digest := s.View().Digest()
	for name, data := range map[string][]byte{
		"empty": nil, "version": append([]byte{9}, good[1:]...), "cut": good[:len(good)-1],
		"trailing": append(slices.Clone(good), 0),
	} {
		if _, err := s.Apply(2, data); err == nil {
			t.Errorf("%s: applied", name)
		}
	}
	if s.View().Digest() != digest || s.View().Index() != 1 {
		t.Error("an unreadable entry has changed the state")
	}
}

func TestBadRegistrationsPanic(t *testing.T) {
	r := fsm.Resource{Name: "x", Decode: decode}
	for name, resources := range map[string][]fsm.Resource{
		"twice": {r, r}, "no name": {{Decode: decode}}, "no decoder": {{Name: "y"}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			fsm.NewSchema(nil, resources...)
		}()
	}
}

func ExampleKey_String() {
	fmt.Println(fsm.Key{Resource: "pods", Namespace: "default", Name: "web"})
	fmt.Println(fsm.Key{Resource: "nodes", Name: "n1"})
	// Output:
	// pods/default/web
	// nodes/n1
}
