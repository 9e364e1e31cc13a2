package scheduler

import (
	corev1 "k8s.io/api/core/v1"
)

// The weights of what makes a node good. Spreading replicas outweighs how full nodes are: losing one node should
// cost few of them.
const (
	weightSpread = 10
	weightFree   = 1
	weightAvoid  = 3 // for each PreferNoSchedule taint
)

// score is higher the better the node is for the pod.
func score(n *nodeInfo, pod *corev1.Pod, spread []constraint) float64 {
	total := weightFree * n.free(requests(pod))
	for _, c := range spread {
		skew, known := c.skew(n)
		if !known {
			skew = c.maxSkew + c.self
		}
		total -= weightSpread * float64(skew)
	}
	for i := range n.node.Spec.Taints {
		if t := &n.node.Spec.Taints[i]; t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerated(pod, t) {
			total -= weightAvoid
		}
	}
	return total
}

// free is the mean of the shares of CPU, memory and pods that are left on the node with the pod on it, in [0,1].
func (n *nodeInfo) free(want amounts) float64 {
	var sum float64
	for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		if all := amount(name, n.node.Status.Allocatable[name]); all > 0 {
			sum += 1 - float64(n.requested[name]+want[name])/float64(all)
		}
	}
	if pods := n.node.Status.Allocatable.Pods().Value(); pods > 0 {
		sum += 1 - float64(len(n.pods)+1)/float64(pods)
	}
	return sum / 3
}
