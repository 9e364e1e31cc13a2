package ownership_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/ownership"
)

// TestUpdatesAreTrackedAsKubernetesDoes compares the owners of random objects, created and then changed, with those that
// the library finds with client-go's own schema and scheme.
func TestUpdatesAreTrackedAsKubernetesDoes(t *testing.T) {
	tracker, converter := ownership.New(), applyconfigurations.NewTypeConverter(scheme.Scheme)
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		version := fieldpath.APIVersion(k.GVK.GroupVersion().String())
		var ignored map[fieldpath.APIVersion]*fieldpath.Set
		if _, ok := k.Subresources["status"]; ok {
			ignored = map[fieldpath.APIVersion]*fieldpath.Set{version: fieldpath.NewSet(fieldpath.MakePathOrDie("status"))}
		}
		reference, err := managedfields.NewDefaultFieldManager(converter, scheme.Scheme, scheme.Scheme, scheme.Scheme, k.GVK,
			k.GVK.GroupVersion(), "", fieldpath.NewExcludeFilterSetMap(ignored))
		if err != nil {
			t.Fatal(err)
		}
		for seed := range int64(10) {
			first, second := random(k, 2*seed), random(k, 2*seed+1)
			wantFirst, wantSecond := first.DeepCopyObject().(fsm.Value), second.DeepCopyObject().(fsm.Value)
			empty := k.New()
			empty.GetObjectKind().SetGroupVersionKind(k.GVK)
			if _, err := reference.Update(empty, wantFirst, "a"); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			tracker.Update(k, "", nil, first, "a")
			sameEntries(t, wantFirst, first)
			if _, err := reference.Update(wantFirst, wantSecond, "b"); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			tracker.Update(k, "", first, second, "b")
			sameEntries(t, wantSecond, second)
		}
	})
}

func random(k *kinds.Kind, seed int64) fsm.Value {
	obj := k.New()
	filler(seed).Fill(obj)
	obj.GetObjectKind().SetGroupVersionKind(k.GVK)
	obj.SetUID("1")
	obj.SetManagedFields(nil)
	return obj
}

func sameEntries(t *testing.T, want, got fsm.Value) {
	t.Helper()
	byText := cmp.Transformer("text", func(f metav1.FieldsV1) string { return f.GetRawString() })
	if diff := cmp.Diff(want.GetManagedFields(), got.GetManagedFields(), byText,
		cmpopts.IgnoreFields(metav1.ManagedFieldsEntry{}, "Time")); diff != "" {
		t.Errorf("other than the library: %s", diff)
	}
}
