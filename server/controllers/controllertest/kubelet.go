package controllertest

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/server/controllers"
)

// Kubelet plays all nodes: bound pods become running and ready, and deleted ones go.
type Kubelet struct {
	c *Cluster
	// Place, unless empty, is the node on which the kubelet puts pods that have none: for tests without a scheduler.
	Place string
	// Sick pods run but do not become ready, by the image of their first container.
	Sick map[string]bool
	// Slow keeps deleted pods as they are.
	Slow bool
	pods int
}

// Kubelet makes one that puts pods on the node.
func (c *Cluster) Kubelet(place string) *Kubelet {
	return &Kubelet{c: c, Place: place, Sick: map[string]bool{}}
}

// Work brings every pod to where its node would.
func (k *Kubelet) Work() {
	for _, pod := range List[*corev1.Pod](k.c) {
		k.Turn(pod)
	}
}

// Turn does one pod's next step: it is placed, it becomes ready (or not), it goes.
func (k *Kubelet) Turn(pod *corev1.Pod) {
	k.c.t.Helper()
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	switch {
	case pod.DeletionTimestamp != nil && pod.Spec.NodeName != "":
		if !k.Slow && len(pod.Finalizers) == 0 {
			k.c.Remove(pod)
		}
	case ended || pod.DeletionTimestamp != nil:
	case pod.Spec.NodeName == "" && k.Place != "":
		pod.Spec.NodeName = k.Place
		k.c.write(controllers.Bind, pod, false)
	case pod.Spec.NodeName != "" && pod.Status.PodIP == "":
		k.pods++
		pod.Status.Phase, pod.Status.PodIP = corev1.PodRunning, fmt.Sprintf("10.1.%d.%d", k.pods/250, k.pods%250+1)
		SetReady(pod, !k.Sick[pod.Spec.Containers[0].Image], k.c.Time())
		k.c.write(controllers.UpdateStatus, pod, false)
	}
}

// SetReady sets the pod's Ready condition.
func SetReady(pod *corev1.Pod, ready bool, now time.Time) {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	at := metav1.NewTime(now.Truncate(time.Second))
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			if c.Status != status {
				c.Status, c.LastTransitionTime = status, at
			}
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions,
		corev1.PodCondition{Type: corev1.PodReady, Status: status, LastTransitionTime: at})
}

// Pod makes a pod of one container.
func Pod(name string, labels map[string]string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}, Spec: Template(labels, "app").Spec}
}

// Template makes a pod template with one container of the image.
func Template(labels map[string]string, image string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}},
	}
}

// Node makes a ready node with room for pods pods.
func Node(name string, pods int64, now time.Time) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelHostname: name}},
		Status: corev1.NodeStatus{
			Capacity: corev1.ResourceList{
				corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"),
				corev1.ResourcePods: *resource.NewQuantity(pods, resource.DecimalSI)},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue,
				LastTransitionTime: metav1.NewTime(now.Truncate(time.Second))}},
		},
	}
}
