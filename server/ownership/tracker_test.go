package ownership_test

import (
	"math/rand"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/randfill"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/ownership"
)

func eachKind(t *testing.T, test func(t *testing.T, k *kinds.Kind)) {
	for _, k := range kinds.Builtin().All() {
		t.Run(k.GroupResource().String(), func(t *testing.T) { test(t, k) })
	}
}

// labelled is a configuration of k with these labels, as pairs.
func labelled(k *kinds.Kind, labels ...string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(k.GVK)
	u.SetName("x")
	m := map[string]string{}
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	u.SetLabels(m)
	return u
}

func fieldsOf(obj fsm.Value, manager string) string {
	var all []string
	for _, entry := range obj.GetManagedFields() {
		if entry.Manager == manager {
			all = append(all, entry.FieldsV1.GetRawString())
		}
	}
	return strings.Join(all, " ")
}

func mustApply(t *testing.T, tracker *ownership.Tracker, k *kinds.Kind, live fsm.Value, want *unstructured.Unstructured, manager string, force bool) fsm.Value {
	t.Helper()
	obj, err := tracker.Apply(k, "", live, want, manager, force)
	if err != nil {
		t.Fatal(err)
	}
	obj.SetUID("1")
	return obj
}

func TestApplyOfEveryKind(t *testing.T) {
	tracker := ownership.New()
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		obj := mustApply(t, tracker, k, nil, labelled(k, "shared", "a", "own", "a"), "a", false)
		if got := fieldsOf(obj, "a"); got != `{"f:metadata":{"f:labels":{"f:own":{},"f:shared":{}}}}` {
			t.Fatalf("a owns %s", got)
		}
		_, err := tracker.Apply(k, "", obj, labelled(k, "shared", "b"), "b", false)
		if !apierrors.IsConflict(err) {
			t.Fatalf("b changed what a owns: %v", err)
		}
		status := err.(apierrors.APIStatus).Status()
		if want := `Apply failed with 1 conflict: conflict with "a": .metadata.labels.shared`; status.Message != want {
			t.Errorf("message %q", status.Message)
		}
		if c := status.Details.Causes; len(c) != 1 || c[0].Type != metav1.CauseTypeFieldManagerConflict ||
			c[0].Field != ".metadata.labels.shared" || c[0].Message != `conflict with "a"` {
			t.Errorf("causes %+v", c)
		}
		obj = mustApply(t, tracker, k, obj, labelled(k, "shared", "b"), "b", true)
		if got := obj.GetLabels(); got["shared"] != "b" || got["own"] != "a" {
			t.Errorf("labels after force: %v", got)
		}
		if a, b := fieldsOf(obj, "a"), fieldsOf(obj, "b"); strings.Contains(a, "shared") || !strings.Contains(b, "shared") {
			t.Errorf("after force a owns %s, b %s", a, b)
		}
		obj = mustApply(t, tracker, k, obj, labelled(k, "other", "b"), "b", false)
		if got := obj.GetLabels(); got["shared"] != "" || got["own"] != "a" || got["other"] != "b" {
			t.Errorf("labels after b dropped one: %v", got)
		}
	})
}

// TestEveryFieldIsKnown fills objects with random values: the schema must know every field of the Go types.
func TestEveryFieldIsKnown(t *testing.T) {
	tracker := ownership.New()
	eachKind(t, func(t *testing.T, k *kinds.Kind) {
		for seed := range int64(20) {
			obj := k.New()
			filler(seed).Fill(obj)
			obj.GetObjectKind().SetGroupVersionKind(k.GVK)
			obj.SetLabels(map[string]string{"a": "b"})
			obj.SetManagedFields(nil)
			tracker.Update(k, "", nil, obj, "a")
			if got := fieldsOf(obj, "a"); !strings.Contains(got, "f:labels") {
				t.Fatalf("seed %d: owned %q", seed, got)
			}
		}
	})
}

func filler(seed int64) *randfill.Filler {
	return randfill.New().RandSource(rand.NewSource(seed)).NilChance(0.4).NumElements(1, 2).MaxDepth(12).Funcs(
		func(*metav1.TypeMeta, randfill.Continue) {},
		func(v *metav1.Time, c randfill.Continue) { v.Time = time.Unix(c.Int63n(1<<32), 0) },
		func(v *metav1.MicroTime, c randfill.Continue) { v.Time = time.UnixMicro(c.Int63n(1 << 50)) },
		func(v *metav1.FieldsV1, _ randfill.Continue) { v.SetRawBytes([]byte(`{"f:x":{}}`)) },
		func(v *resource.Quantity, c randfill.Continue) {
			*v = *resource.NewQuantity(c.Int63n(1<<30), resource.BinarySI)
		},
		func(v *intstr.IntOrString, c randfill.Continue) { *v = intstr.FromInt32(c.Int31n(1 << 16)) },
		func(v *runtime.RawExtension, _ randfill.Continue) { v.Raw = []byte(`{}`) },
	)
}

// A protobuf body may hold bytes that are no JSON where the library expects it, and it panics then.
func TestWhatCannotBeReadIsAnError(t *testing.T) {
	k := kind(t, "deployments.apps")
	d := &appsv1.Deployment{}
	d.SetGroupVersionKind(k.GVK)
	garbage := &metav1.FieldsV1{}
	garbage.SetRawBytes([]byte("7 8"))
	d.Spec.Template.ManagedFields = []metav1.ManagedFieldsEntry{{FieldsV1: garbage}}
	tracker := ownership.New()
	tracker.Update(k, "", nil, d, "a")
	if _, err := tracker.Apply(k, "", d, labelled(k, "a", "b"), "a", false); err == nil {
		t.Error("applied to it")
	}
}
