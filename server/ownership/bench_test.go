package ownership_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/ownership"
)

func kind(b testing.TB, resource string) *kinds.Kind {
	b.Helper()
	k := kinds.Builtin().ByStore(resource)
	if k == nil {
		b.Fatalf("no kind %s", resource)
	}
	return k
}

func samplePod() *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", Labels: map[string]string{"app": "web", "tier": "front"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx:1",
			Ports: []corev1.ContainerPort{{ContainerPort: 80}},
			Env:   []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}}}}}}
	p.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	return p
}

func sampleConfigMap() *corev1.ConfigMap {
	c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c", Namespace: "default"}, Data: map[string]string{"a": "1", "b": "2"}}
	c.SetGroupVersionKind(schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"})
	return c
}

func BenchmarkFirst(b *testing.B) {
	k, obj := kind(b, "configmaps"), sampleConfigMap()
	b.ReportAllocs()
	for b.Loop() {
		ownership.New().Update(k, "", nil, obj.DeepCopy(), "kubectl")
	}
}

func BenchmarkCreate(b *testing.B) {
	for _, c := range []struct {
		resource string
		obj      fsm.Value
	}{{"configmaps", sampleConfigMap()}, {"pods", samplePod()}} {
		b.Run(c.resource, func(b *testing.B) {
			tracker, k := ownership.New(), kind(b, c.resource)
			if k.Default != nil {
				k.Default(c.obj)
			}
			tracker.Update(k, "", nil, c.obj.DeepCopyObject().(fsm.Value), "kubectl")
			b.ReportAllocs()
			for b.Loop() {
				obj := c.obj.DeepCopyObject().(fsm.Value)
				tracker.Update(k, "", nil, obj, "kubectl")
			}
		})
	}
}

func BenchmarkUpdate(b *testing.B) {
	tracker := ownership.New()
	b.Run("configmaps", func(b *testing.B) {
		k, live := kind(b, "configmaps"), sampleConfigMap()
		tracker.Update(k, "", nil, live, "kubectl")
		live.UID = "1"
		b.ReportAllocs()
		for b.Loop() {
			obj := live.DeepCopy()
			obj.Data["a"] = "x"
			tracker.Update(k, "", live, obj, "bench")
		}
	})
	b.Run("pods status", func(b *testing.B) {
		k, live := kind(b, "pods"), samplePod()
		k.Default(live)
		tracker.Update(k, "", nil, live, "kubectl")
		live.UID = "1"
		b.ReportAllocs()
		for b.Loop() {
			obj := live.DeepCopy()
			obj.Status.Phase = corev1.PodRunning
			obj.Status.PodIP = "10.0.0.1"
			tracker.Update(k, "status", live, obj, "holt")
		}
	})
}
