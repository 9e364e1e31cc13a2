package kinds_test

import (
	"math/rand"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
)

// eachKind runs a test for every kind of the registry.
func eachKind(t *testing.T, test func(t *testing.T, k *kinds.Kind)) {
	t.Helper()
	for _, k := range kinds.Builtin().All() {
		t.Run(k.GroupResource().String(), func(t *testing.T) { test(t, k) })
	}
}

// find returns a kind by its key in the store.
func find(t *testing.T, resource string) *kinds.Kind {
	t.Helper()
	k := kinds.Builtin().ByStore(resource)
	if k == nil {
		t.Fatalf("no kind %q", resource)
	}
	return k
}

// parse reads a manifest; unknown fields are the test's mistake.
func parse(t *testing.T, k *kinds.Kind, manifest string) fsm.Value {
	t.Helper()
	obj := k.New()
	if err := yaml.UnmarshalStrict([]byte(manifest), obj); err != nil {
		t.Fatal(err)
	}
	return obj
}

// create does what the API does with a new object.
func create(t *testing.T, k *kinds.Kind, manifest string) fsm.Value {
	t.Helper()
	obj := parse(t, k, manifest)
	applyDefaults(k, obj)
	if k.Prepare != nil {
		k.Prepare(obj, nil)
	}
	return obj
}

// update does what the API does with a replacement of old.
func update(t *testing.T, k *kinds.Kind, old fsm.Value, manifest string) (fsm.Value, []string) {
	t.Helper()
	obj := parse(t, k, manifest)
	applyDefaults(k, obj)
	if k.Prepare != nil {
		k.Prepare(obj, old)
	}
	errs := problems(k, obj)
	if k.ValidateUpdate != nil {
		for _, err := range k.ValidateUpdate(obj, old) {
			errs = append(errs, err.Error())
		}
	}
	return obj, errs
}

func applyDefaults(k *kinds.Kind, obj fsm.Value) {
	if k.Default != nil {
		k.Default(obj)
	}
}

func problems(k *kinds.Kind, obj fsm.Value) []string {
	if k.Validate == nil {
		return nil
	}
	var errs []string
	for _, err := range k.Validate(obj) {
		errs = append(errs, err.Error())
	}
	return errs
}

// newProblems are those of a new object alone.
func newProblems(k *kinds.Kind, obj fsm.Value) []string {
	if k.ValidateCreate == nil {
		return nil
	}
	var errs []string
	for _, err := range k.ValidateCreate(obj) {
		errs = append(errs, err.Error())
	}
	return errs
}

func sameProblems(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got)+len(want) == 0 {
		return
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// judged is a manifest, and what is wrong with it.
type judged struct {
	name, resource, manifest string
	want                     []string
}

// judge validates manifests as if they were created.
func judge(t *testing.T, tests []judged) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := find(t, test.resource)
			obj := parse(t, k, test.manifest)
			applyDefaults(k, obj)
			sameProblems(t, append(problems(k, obj), newProblems(k, obj)...), test.want...)
		})
	}
}

// changed is a manifest that replaces another one, and what is wrong with that.
type changed struct {
	name, resource, old, manifest string
	want                          []string
}

// judgeChanges validates manifests as updates.
func judgeChanges(t *testing.T, tests []changed) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := find(t, test.resource)
			_, got := update(t, k, create(t, k, test.old), test.manifest)
			sameProblems(t, got, test.want...)
		})
	}
}

// shown is a manifest, and its row in tables.
type shown struct {
	name, resource, manifest string
	want                     []any
}

// show makes rows of manifests.
func show(t *testing.T, tests []shown) {
	t.Helper()
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := find(t, test.resource)
			if diff := cmp.Diff(test.want, k.Cells(parse(t, k, test.manifest), tableNow)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEveryKindIsComplete(t *testing.T) {
	names := map[string]string{}
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		for _, name := range append([]string{k.Resource, k.Singular}, k.ShortNames...) {
			if owner := names[name]; owner != "" && owner != k.Resource {
				t.Errorf("the name %q is %s's too", name, owner)
			}
			names[name] = k.Resource
		}
		if k.GVK.Kind == "" || k.GVK.Version == "" || k.Singular == "" {
			t.Errorf("nameless: %+v", k.GVK)
		}
		obj := k.New()
		obj.SetName("x")
		if len(k.Columns) == 0 || k.Cells == nil {
			t.Fatal("no table")
		}
		if cells := k.Cells(obj, time.Now()); len(cells) != len(k.Columns) {
			t.Errorf("%d cells for %d columns", len(cells), len(k.Columns))
		}
		for _, c := range k.Columns {
			if c.Name == "" || c.Type == "" || c.Description == "" {
				t.Errorf("incomplete column %+v", c)
			}
		}
		for name, sub := range k.Subresources {
			if sub.GVK.Kind == "" || sub.New == nil || len(sub.Verbs()) == 0 {
				t.Errorf("incomplete subresource %s", name)
			}
		}
	})
}

func TestListsHoldTheirKind(t *testing.T) {
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		list, obj := k.NewList(), k.New()
		obj.SetName("x")
		if err := meta.SetList(list, []runtime.Object{obj}); err != nil {
			t.Fatal(err)
		}
		if n := meta.LenList(list); n != 1 {
			t.Errorf("the list has %d items", n)
		}
	})
}

// filler makes random objects whose values survive their wire: times in whole seconds, quantities in canonical form.
func filler(seed int64) *randfill.Filler {
	return randfill.New().RandSource(rand.NewSource(seed)).NilChance(0.4).NumElements(1, 2).MaxDepth(12).Funcs(
		func(*metav1.TypeMeta, randfill.Continue) {},
		func(v *metav1.Time, c randfill.Continue) { v.Time = time.Unix(c.Int63n(1<<32), 0) },
		func(v *metav1.MicroTime, c randfill.Continue) { v.Time = time.UnixMicro(c.Int63n(1 << 50)) },
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.SetRawBytes([]byte(`{"f:x":{}}`)) },
		func(v *resource.Quantity, c randfill.Continue) {
			*v = *resource.NewMilliQuantity(c.Int63n(1<<20), resource.DecimalSI)
			_ = v.String()
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(1 << 16)) },
		func(v *runtime.RawExtension, _ randfill.Continue) { v.Raw = []byte(`{}`) },
	)
}

func TestEncodingKeepsEverything(t *testing.T) {
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		for seed := range int64(50) {
			obj := k.New()
			filler(seed).Fill(obj)
			obj.GetObjectKind().SetGroupVersionKind(k.GVK)
			obj.SetResourceVersion("7")
			if k.Restore != nil {
				k.Restore(obj)
			}
			raw, err := k.Encode(obj)
			if err != nil {
				t.Fatal(err)
			}
			if obj.GetResourceVersion() != "7" {
				t.Fatal("encoding changed the object")
			}
			back, err := k.Decode(raw)
			if err != nil {
				t.Fatal(err)
			}
			if back.GetResourceVersion() != "" {
				t.Fatal("the revision was encoded")
			}
			obj.SetResourceVersion("")
			if !equality.Semantic.DeepEqual(obj, back) {
				t.Fatalf("seed %d: %s", seed, cmp.Diff(obj, back))
			}
		}
	})
}

func TestDecodeRefusesGarbage(t *testing.T) {
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		if _, err := k.Decode([]byte{0xff, 0xff, 0xff}); err == nil {
			t.Error("decoded")
		}
	})
}

func TestDefaultingIsIdempotentAndNothingPanics(t *testing.T) {
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		for seed := range int64(100) {
			obj, old := k.New(), k.New()
			filler(seed).Fill(obj)
			filler(-seed).Fill(old)
			applyDefaults(k, obj)
			again := obj.DeepCopyObject().(fsm.Value)
			applyDefaults(k, again)
			if diff := cmp.Diff(obj, again, cmp.Comparer(func(a, b resource.Quantity) bool { return a.Cmp(b) == 0 })); diff != "" {
				t.Fatalf("seed %d: %s", seed, diff)
			}
			problems(k, obj)
			k.Cells(obj, time.Now())
			if k.Fields != nil {
				k.Fields(obj)
			}
			for _, index := range k.Indexes {
				index(obj)
			}
			if k.ValidateUpdate != nil {
				k.ValidateUpdate(obj, old)
			}
			if k.Prepare != nil {
				k.Prepare(obj, old)
				k.Prepare(obj, nil)
			}
		}
	})
}
