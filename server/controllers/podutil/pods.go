package podutil

import (
	"fmt"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Active pods count towards a controller's replicas: they have neither ended nor are they about to.
func Active(p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && !Ended(p)
}

// Ended pods have no running container and never will have.
func Ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// Condition returns the pod's condition of the type, or nil.
func Condition(p *corev1.Pod, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range p.Status.Conditions {
		if p.Status.Conditions[i].Type == t {
			return &p.Status.Conditions[i]
		}
	}
	return nil
}

// Ready pods serve.
func Ready(p *corev1.Pod) bool {
	c := Condition(p, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// AvailableAt returns since when the pod counts as available, having been ready for minReady seconds. It reports
// false for a pod that is not ready.
func AvailableAt(p *corev1.Pod, minReady int32) (time.Time, bool) {
	c := Condition(p, corev1.PodReady)
	if c == nil || c.Status != corev1.ConditionTrue {
		return time.Time{}, false
	}
	return c.LastTransitionTime.Add(time.Duration(minReady) * time.Second), true
}

// Available reports whether the pod has been ready for minReady seconds at now.
func Available(p *corev1.Pod, minReady int32, now time.Time) bool {
	at, ready := AvailableAt(p, minReady)
	return ready && (minReady == 0 || !now.Before(at))
}

// FromTemplate makes a pod of a template for its controller.
func FromTemplate(t *corev1.PodTemplateSpec, owner metav1.OwnerReference, namespace, name string) *corev1.Pod {
	t = t.DeepCopy()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: owner.Name + "-", Name: name, Namespace: namespace,
			Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{owner},
		},
		Spec: t.Spec,
	}
}

// nameAlphabet has no vowels and no look-alikes, as Kubernetes' random names.
const nameAlphabet = "bcdfghjklmnpqrstvwxz2456789"

// GeneratedName completes an owner's name for the i-th object that a plan on the view of revision makes. It is a pure
// function in place of a random one; the caller takes another i if the name is taken.
func GeneratedName(owner metav1.OwnerReference, revision uint64, i int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %d %d", owner.UID, revision, i)
	suffix := make([]byte, 5)
	for n, sum := 0, h.Sum64(); n < len(suffix); n++ {
		suffix[n] = nameAlphabet[sum%uint64(len(nameAlphabet))]
		sum /= uint64(len(nameAlphabet))
	}
	base := owner.Name + "-"
	return base[:min(len(base), 58)] + string(suffix)
}
