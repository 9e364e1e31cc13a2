package namespace_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/namespace"
)

func newCluster(t *testing.T) (*ct.Cluster, *ct.Loop) {
	c := ct.New(t)
	var resources []string
	for _, k := range c.Kinds.All() {
		if k.Namespaced {
			resources = append(resources, k.GroupResource().String())
		}
	}
	return c, c.Loop(namespace.New(resources))
}

func config(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func goes(c *ct.Cluster) bool {
	_, there := ct.Find[*corev1.Namespace](c, "default")
	return !there
}

func terminate(c *ct.Cluster) { c.Delete(ct.Get[*corev1.Namespace](c, "default")) }

func TestEverythingGoes(t *testing.T) {
	c, loop := newCluster(t)
	for i := range 1200 { // more than one plan deletes
		c.Create(config(fmt.Sprintf("c%d", i)))
	}
	p := ct.Pod("p", nil)
	p.Spec.NodeName = "n1"
	c.Create(p)
	c.Settle(nil, loop)
	c.Idle(loop)
	terminate(c)
	if ns := ct.Get[*corev1.Namespace](c, "default"); ns.Status.Phase != corev1.NamespaceTerminating {
		t.Errorf("phase %s", ns.Status.Phase)
	}
	c.Settle(nil, loop)
	c.Idle(loop)
	if goes(c) {
		t.Fatal("gone although its pod still runs")
	}
	if n := len(ct.List[*corev1.ConfigMap](c)); n != 0 {
		t.Fatalf("%d ConfigMaps are left", n)
	}
	c.Settle(c.Kubelet(""), loop)
	if !goes(c) {
		t.Fatal("still there without content")
	}
	for o := range c.Store.View().All() {
		t.Errorf("%s is left", o.Key)
	}
}

func TestHeldByAFinalizer(t *testing.T) {
	c, loop := newCluster(t)
	held := config("held")
	held.Finalizers = []string{"example.com/hold"}
	c.Create(held)
	terminate(c)
	c.Settle(nil, loop)
	c.Idle(loop)
	ns := ct.Get[*corev1.Namespace](c, "default")
	if len(ns.Status.Conditions) != 1 || ns.Status.Conditions[0].Type != corev1.NamespaceContentRemaining {
		t.Errorf("conditions %v", ns.Status.Conditions)
	}
	ct.Edit(c, "held", func(c *corev1.ConfigMap) { c.Finalizers = nil })
	c.Settle(nil, loop)
	if !goes(c) {
		t.Error("still there after the last object went")
	}
}

// An object that slips in while its namespace goes is deleted too.
func TestCreatedDuringDeletion(t *testing.T) {
	c, loop := newCluster(t)
	held := config("held")
	held.Finalizers = []string{"example.com/hold"}
	c.Create(held)
	terminate(c)
	c.Settle(nil, loop)
	k := c.Kinds.ByStore("configmaps")
	late := config("late")
	late.Namespace = "default"
	raw, err := k.Encode(late)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Propose(t.Context(), []fsm.Op{{Verb: fsm.Create, Resource: "configmaps", Namespace: "default", Name: "late", Raw: raw}}); err != nil {
		t.Fatal(err)
	}
	c.Settle(nil, loop)
	if _, there := ct.Find[*corev1.ConfigMap](c, "late"); there {
		t.Error("late is still there")
	}
}

func TestOwnFinalizersHoldIt(t *testing.T) {
	c, loop := newCluster(t)
	ct.Edit(c, "default", func(ns *corev1.Namespace) { ns.Finalizers = []string{"example.com/hold"} })
	terminate(c)
	c.Settle(nil, loop)
	c.Idle(loop)
	if goes(c) {
		t.Fatal("gone in spite of its finalizer")
	}
	ct.Edit(c, "default", func(ns *corev1.Namespace) { ns.Finalizers = nil })
	c.Settle(nil, loop)
	if !goes(c) {
		t.Error("still there")
	}
}

// Whatever else is written to a terminating namespace does not end it before its content.
func TestContentOutlivesOtherWrites(t *testing.T) {
	c, _ := newCluster(t)
	c.Create(config("content"))
	terminate(c)
	ct.Edit(c, "default", func(ns *corev1.Namespace) { ns.Labels["x"] = "y" })
	ct.EditStatus(c, "default", func(ns *corev1.Namespace) {
		ns.Status.Conditions = []corev1.NamespaceCondition{{Type: "X", Status: corev1.ConditionTrue}}
	})
	if goes(c) {
		t.Error("gone before its content")
	}
}
