package scheduler

import (
	corev1 "k8s.io/api/core/v1"
)

// The weights of what makes a node good. Spreading replicas outweighs how full nodes are: losing one node should
// cost few of them.
const (
	weightSpread    = 10
	weightFree      = 1
	weightAvoid     = 3 // for each PreferNoSchedule taint
	weightPreferred = 5 // for all of the preferred node affinity
)

// score is higher the better the node is for the pod.
func score(n *nodeInfo, d demand) float64 {
	total := weightFree*n.free(d.want) + weightPreferred*preference(n.node, d.pod)
	for _, c := range d.spread {
		skew, known := c.skew(n)
		if !known {
			skew = c.maxSkew + c.self
		}
		total -= weightSpread * float64(skew)
	}
	for i := range n.node.Spec.Taints {
		if t := &n.node.Spec.Taints[i]; t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerated(d.pod, t) {
			total -= weightAvoid
		}
	}
	return total
}

// preference is the share of its preferred node affinity's weight that the pod gets on the node, in [0,1].
func preference(node *corev1.Node, pod *corev1.Pod) float64 {
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil {
		return 0
	}
	var got, all float64
	for _, t := range a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		all += float64(t.Weight)
		if termMatches(node, t.Preference) {
			got += float64(t.Weight)
		}
	}
	if all == 0 {
		return 0
	}
	return got / all
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
