package garbage_test

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/holt-project/holt/fsm"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/garbage"
)

// world has ConfigMaps that own each other.
type world struct {
	*ct.Cluster
	t    *testing.T
	loop *ct.Loop
}

func newWorld(t *testing.T) *world {
	c := ct.New(t)
	return &world{c, t, c.Loop(garbage.New(c.Kinds))}
}

// config makes a ConfigMap with owners by name. The dependents block their owners.
func (w *world) config(name string, owners ...string) {
	w.t.Helper()
	obj := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, o := range owners {
		obj.OwnerReferences = append(obj.OwnerReferences, w.ref(o))
	}
	w.Create(obj)
}

func (w *world) ref(name string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name,
		UID: ct.Get[*corev1.ConfigMap](w.Cluster, name).UID, BlockOwnerDeletion: ptr.To(true)}
}

func (w *world) delete(name string, finalizers ...string) {
	w.t.Helper()
	if len(finalizers) > 0 {
		ct.Edit(w.Cluster, name, func(c *corev1.ConfigMap) { c.Finalizers = append(c.Finalizers, finalizers...) })
	}
	w.Delete(ct.Get[*corev1.ConfigMap](w.Cluster, name))
}

// left are the names of the ConfigMaps once nothing changes any more.
func (w *world) left(want ...string) {
	w.t.Helper()
	w.Settle(nil, w.loop)
	w.Idle(w.loop)
	var names []string
	for _, c := range ct.List[*corev1.ConfigMap](w.Cluster) {
		names = append(names, c.Name)
	}
	if !slices.Equal(names, want) {
		w.t.Fatalf("left are %v, want %v", names, want)
	}
}

func owners(w *world, name string) (names []string) {
	for _, r := range ct.Get[*corev1.ConfigMap](w.Cluster, name).OwnerReferences {
		names = append(names, r.Name)
	}
	return names
}

func TestBackground(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	w.config("c", "b")
	w.config("other")
	w.left("a", "b", "c", "other")
	w.delete("a")
	w.left("other")
}

func TestForegroundDeletesFromTheLeaves(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	w.config("c", "b")
	watch, err := w.Store.Watch("configmaps", "", w.Store.View().Revision())
	if err != nil {
		t.Fatal(err)
	}
	w.delete("a", metav1.FinalizerDeleteDependents)
	w.left()
	events, err := watch.Poll()
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, e := range events {
		if e.Type == fsm.Deleted {
			order = append(order, e.Object.Name)
		}
	}
	if !slices.Equal(order, []string{"c", "b", "a"}) {
		t.Errorf("deleted in the order %v", order)
	}
}

func TestForegroundWaitsForWhatBlocks(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	ct.Edit(w.Cluster, "b", func(c *corev1.ConfigMap) { c.Finalizers = []string{"example.com/hold"} })
	w.delete("a", metav1.FinalizerDeleteDependents)
	w.left("a", "b")
	ct.Edit(w.Cluster, "b", func(c *corev1.ConfigMap) { c.Finalizers = nil })
	w.left()
}

func TestForegroundWhenADependentIsTakenAway(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	ct.Edit(w.Cluster, "b", func(c *corev1.ConfigMap) { c.Finalizers = []string{"example.com/hold"} })
	w.delete("a", metav1.FinalizerDeleteDependents)
	w.left("a", "b")
	ct.Edit(w.Cluster, "b", func(c *corev1.ConfigMap) { c.OwnerReferences = nil })
	w.left("b") // held by its own finalizer alone
}

func TestForegroundSparesWhatOthersOwn(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("z")
	w.config("shared", "a", "z")
	w.delete("a", metav1.FinalizerDeleteDependents)
	w.left("shared", "z")
	if got := owners(w, "shared"); !slices.Equal(got, []string{"z"}) {
		t.Errorf("owners %v", got)
	}
	w.delete("z")
	w.left()
}

func TestTwoOwnersThatBothWait(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("z")
	w.config("shared", "a", "z")
	w.delete("a", metav1.FinalizerDeleteDependents)
	w.delete("z", metav1.FinalizerDeleteDependents)
	w.left()
}

func TestOrphan(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	w.config("c", "a")
	w.delete("a", metav1.FinalizerOrphanDependents)
	w.left("b", "c")
	if got := owners(w, "b"); got != nil {
		t.Errorf("owners %v", got)
	}
}

func TestOneOfTwoOwnersGoes(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("z")
	w.config("shared", "a", "z")
	w.delete("a")
	w.left("shared", "z")
	if got := owners(w, "shared"); !slices.Equal(got, []string{"z"}) {
		t.Errorf("owners %v", got)
	}
}

func TestOwnerOfTheSameNameButAnotherUID(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	w.delete("a")
	w.config("a")
	w.left("a")
}

func TestUnknownKindIsLeftAlone(t *testing.T) {
	w := newWorld(t)
	for i, ref := range []metav1.OwnerReference{
		{APIVersion: "example.com/v1", Kind: "Widget", Name: "w", UID: "1"},
		{APIVersion: "not/a/version", Kind: "Widget", Name: "w", UID: "2"},
	} {
		w.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: []string{"a", "b"}[i], OwnerReferences: []metav1.OwnerReference{ref}}})
	}
	w.left("a", "b")
}

func TestClusterScope(t *testing.T) {
	w := newWorld(t)
	w.Create(ct.Node("n1", 10, w.Time()))
	node := ct.Get[*corev1.Node](w.Cluster, "n1")
	ref := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: "n1", UID: node.UID}
	w.Create(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "of-node", OwnerReferences: []metav1.OwnerReference{ref}}})
	other := ct.Node("n2", 10, w.Time()) // an owner in a namespace cannot be judged from outside
	other.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "gone", UID: types.UID("x")}}
	w.Create(other)
	w.left("of-node")
	if len(ct.List[*corev1.Node](w.Cluster)) != 2 {
		t.Fatal("a node with an owner in a namespace was deleted")
	}
	w.Delete(node)
	w.left()
}

func TestCycles(t *testing.T) {
	w := newWorld(t)
	w.config("a")
	w.config("b", "a")
	ref := w.ref("b")
	ct.Edit(w.Cluster, "a", func(c *corev1.ConfigMap) { c.OwnerReferences = []metav1.OwnerReference{ref} })
	w.left("a", "b")
	w.delete("a", metav1.FinalizerDeleteDependents)
	w.left()
}
