package api_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func (c *cluster) pod(a answer) *corev1.Pod {
	c.t.Helper()
	var p corev1.Pod
	a.decode(c.t, &p)
	return &p
}

// A pod on a node keeps running for its grace period; the agent's own deletion with 0 ends it.
func TestGracefulDelete(t *testing.T) {
	c := newCluster(t)
	c.must("POST", pods, podBody("p", `"nodeName":"n","terminationGracePeriodSeconds":20,`), 201)
	p := c.pod(c.must("DELETE", pods+"/p", "", 200))
	if p.DeletionTimestamp == nil || *p.DeletionGracePeriodSeconds != 20 {
		t.Fatalf("deleting: %v, %v", p.DeletionTimestamp, p.DeletionGracePeriodSeconds)
	}
	again := c.pod(c.must("DELETE", pods+"/p", "", 200))
	if diff := cmp.Diff(p, again); diff != "" {
		t.Errorf("a second delete changed it:\n%s", diff)
	}
	shorter := c.pod(c.must("DELETE", pods+"/p?gracePeriodSeconds=5", "", 200))
	if *shorter.DeletionGracePeriodSeconds != 5 || !shorter.DeletionTimestamp.Before(p.DeletionTimestamp) {
		t.Errorf("shortened to %d, %s", *shorter.DeletionGracePeriodSeconds, shorter.DeletionTimestamp)
	}
	c.pod(c.must("DELETE", pods+"/p?gracePeriodSeconds=60", "", 200))
	if p := c.pod(c.must("GET", pods+"/p", "", 200)); *p.DeletionGracePeriodSeconds != 5 {
		t.Errorf("a longer grace period was taken: %d", *p.DeletionGracePeriodSeconds)
	}
	c.patch("merge-patch+json", pods+"/p", `{"metadata":{"labels":{"a":"b"}}}`, 200) // does not remove it
	if p := c.pod(c.must("DELETE", pods+"/p", `{"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0}`, 200)); p.Name != "p" {
		t.Errorf("last answer: %+v", p)
	}
	c.must("GET", pods+"/p", "", 404)
}

func TestPodWithoutNodeIsGoneAtOnce(t *testing.T) {
	c := newCluster(t)
	c.must("POST", pods, podBody("p", ""), 201)
	c.must("DELETE", pods+"/p", "", 200)
	c.must("GET", pods+"/p", "", 404)
}

func TestFinalizersKeepAnObject(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, `{"metadata":{"name":"a","finalizers":["example.com/x"]}}`, 201)
	cm := c.configMap(c.must("DELETE", configMaps+"/a", "", 200))
	if cm.DeletionTimestamp == nil {
		t.Fatal("not marked")
	}
	c.must("PUT", configMaps+"/a", `{"metadata":{"name":"a","finalizers":["example.com/x","example.com/y"]}}`, 422)
	c.must("PUT", configMaps+"/a", `{"metadata":{"name":"a","finalizers":["example.com/x"]},"data":{"k":"v"}}`, 200)
	last := c.configMap(c.patch("json-patch+json", configMaps+"/a", `[{"op":"remove","path":"/metadata/finalizers"}]`, 200))
	if last.Data["k"] != "v" {
		t.Errorf("last state: %+v", last)
	}
	c.must("GET", configMaps+"/a", "", 404)
}

func TestPropagationPolicies(t *testing.T) {
	c := newCluster(t)
	for policy, finalizer := range map[string]string{"Foreground": "foregroundDeletion", "Orphan": "orphan", "Background": ""} {
		c.must("POST", configMaps, configMap("a", "1"), 201)
		a := c.must("DELETE", configMaps+"/a?propagationPolicy="+policy, "", 200)
		if finalizer == "" {
			c.must("GET", configMaps+"/a", "", 404)
			continue
		}
		if cm := c.configMap(a); cm.DeletionTimestamp == nil || len(cm.Finalizers) != 1 || cm.Finalizers[0] != finalizer {
			t.Errorf("%s: %+v", policy, cm.ObjectMeta)
		}
		c.must("DELETE", configMaps+"/a", `{"kind":"DeleteOptions","apiVersion":"meta.k8s.io/v1","propagationPolicy":"Background"}`, 200)
		c.must("GET", configMaps+"/a", "", 404)
	}
}

// Old clients say Orphan by a field of its own.
func TestOrphanDependents(t *testing.T) {
	c := newCluster(t)
	c.must("POST", configMaps, configMap("a", "1"), 201)
	c.must("POST", configMaps, configMap("b", "1"), 201)
	for _, a := range []answer{c.must("DELETE", configMaps+"/a?orphanDependents=true", "", 200),
		c.must("DELETE", configMaps+"/b", `{"orphanDependents":true}`, 200)} {
		if cm := c.configMap(a); len(cm.Finalizers) != 1 || cm.Finalizers[0] != metav1.FinalizerOrphanDependents {
			t.Errorf("%+v", cm.ObjectMeta)
		}
	}
}

func TestDeletePreconditions(t *testing.T) {
	c := newCluster(t)
	cm := c.configMap(c.must("POST", configMaps, configMap("a", "1"), 201))
	c.must("DELETE", configMaps+"/a", `{"preconditions":{"resourceVersion":"1"}}`, 409)
	c.must("DELETE", configMaps+"/a", `{"preconditions":{"uid":"`+string(cm.UID)+`","resourceVersion":"`+cm.ResourceVersion+`"}}`, 200)
}

func TestDeleteCollection(t *testing.T) {
	c := newCluster(t)
	for _, n := range []string{"a", "b", "c"} {
		c.must("POST", configMaps, configMap(n, "1"), 201)
	}
	c.must("POST", configMaps, configMap("d", "2"), 201)
	var l corev1.ConfigMapList
	c.must("DELETE", configMaps+"?labelSelector=v%3D1", "", 200).decode(t, &l)
	if got := c.names(configMaps); got != "d" || len(l.Items) != 3 {
		t.Errorf("left %q, answered %d", got, len(l.Items))
	}
	c.must("DELETE", "/api/v1/configmaps", "", 405)
}

// A namespace is Terminating until its finalizer is taken away through its own subresource; nothing new gets in.
func TestNamespaceDeletion(t *testing.T) {
	c := newCluster(t)
	const path = "/api/v1/namespaces/n"
	c.must("POST", "/api/v1/namespaces", `{"metadata":{"name":"n"}}`, 201)
	var ns corev1.Namespace
	c.must("DELETE", path, "", 200).decode(t, &ns)
	if ns.DeletionTimestamp == nil || ns.Status.Phase != corev1.NamespaceTerminating {
		t.Fatalf("%+v", ns)
	}
	s := c.must("POST", path+"/configmaps", configMap("a", "1"), 403).status(t)
	if !strings.Contains(s.Message, "because it is being terminated") || s.Details.Causes[0].Type != corev1.NamespaceTerminatingCause {
		t.Errorf("%+v", s)
	}
	c.patch("merge-patch+json", path, `{"spec":{"finalizers":[]}}`, 200)
	c.must("GET", path, "", 200)
	c.must("PUT", path+"/finalize", `{"metadata":{"name":"n"},"spec":{"finalizers":[]}}`, 200)
	c.must("GET", path, "", 404)
}

func TestSubresources(t *testing.T) {
	c := newCluster(t)
	c.must("POST", pods, podBody("p", ""), 201)
	c.must("POST", pods+"/p/binding", `{"target":{"kind":"Node","name":"n1"}}`, 201)
	s := c.must("POST", pods+"/p/binding", `{"target":{"name":"n2"}}`, 409).status(t)
	if !strings.Contains(s.Message, `already assigned to node "n1"`) {
		t.Errorf("bind twice: %+v", s)
	}
	p := c.pod(c.must("GET", pods+"/p", "", 200))
	if p.Spec.NodeName != "n1" || len(p.Status.Conditions) != 1 || p.Status.Conditions[0].LastTransitionTime.IsZero() {
		t.Errorf("bound: %+v %+v", p.Spec.NodeName, p.Status)
	}
	p = c.pod(c.patch("strategic-merge-patch+json", pods+"/p/status", `{"status":{"phase":"Running"},"spec":{"nodeName":"x"}}`, 200))
	if p.Status.Phase != corev1.PodRunning || p.Spec.NodeName != "n1" {
		t.Errorf("status: %+v", p)
	}
	p = c.pod(c.patch("merge-patch+json", pods+"/p", `{"status":{"phase":"Failed"},"metadata":{"labels":{"a":"b"}}}`, 200))
	if p.Status.Phase != corev1.PodRunning || p.Labels["a"] != "b" {
		t.Errorf("a patch of the object changed the status: %+v", p)
	}
	c.must("PUT", pods+"/p/status", `{"metadata":{"name":"p","resourceVersion":"1"}}`, 409)
	c.must("DELETE", pods+"/p/status", "", 405)
	c.must("GET", pods+"/p/binding", "", 405)
	c.must("GET", pods+"/p/status", "", 200)
}

func TestScale(t *testing.T) {
	c := newCluster(t)
	const path = "/apis/apps/v1/namespaces/default/deployments"
	c.must("POST", path, `{"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},
		"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}}`, 201)
	c.patch("merge-patch+json", path+"/d/scale", `{"spec":{"replicas":5}}`, 200)
	var scale struct {
		metav1.TypeMeta
		Spec struct{ Replicas int }
	}
	c.must("GET", path+"/d/scale", "", 200).decode(t, &scale)
	var d struct {
		metav1.ObjectMeta `json:"metadata"`
		Spec              struct{ Replicas int }
	}
	c.must("GET", path+"/d", "", 200).decode(t, &d)
	if scale.Kind != "Scale" || scale.Spec.Replicas != 5 || d.Spec.Replicas != 5 || d.Generation != 2 {
		t.Errorf("scale %+v, deployment %+v", scale, d)
	}
	c.patch("merge-patch+json", path+"/d/scale", `{"spec":{"replicas":-1}}`, 422)
}
