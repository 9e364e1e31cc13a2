package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// amounts are quantities of resources: CPU in thousandths of a core, everything else in its own unit.
type amounts map[corev1.ResourceName]int64

func amount(name corev1.ResourceName, q resource.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func (a amounts) add(b amounts) {
	for name, n := range b {
		a[name] += n
	}
}

func (a amounts) addList(l corev1.ResourceList) {
	for name, q := range l {
		a[name] += amount(name, q)
	}
}

// raise makes each amount at least as large as b's.
func (a amounts) raise(b amounts) {
	for name, n := range b {
		a[name] = max(a[name], n)
	}
}

// requests is what a pod takes of a node: the sum over its containers and sidecars, or what the largest init
// container needs beside the sidecars started before it, and the overhead (KEP-753, KEP-688).
func requests(pod *corev1.Pod) amounts {
	total, sidecars, initPeak := amounts{}, amounts{}, amounts{}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecars.addList(c.Resources.Requests)
			initPeak.raise(sidecars)
			continue
		}
		peak := amounts{}
		peak.add(sidecars)
		peak.addList(c.Resources.Requests)
		initPeak.raise(peak)
	}
	total.add(sidecars)
	for i := range pod.Spec.Containers {
		total.addList(pod.Spec.Containers[i].Resources.Requests)
	}
	total.raise(initPeak)
	total.addList(pod.Spec.Overhead)
	return total
}
