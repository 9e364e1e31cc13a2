package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// constraint is one topology spread constraint (KEP-895) with the matching pods counted by domain.
type constraint struct {
	key     string
	maxSkew int
	hard    bool
	self    int // 1 if the pod itself matches the selector
	counts  map[string]int
	lowest  int
}

// spreadOf evaluates the pod's constraints over the nodes that its selectors admit. Without any, a pod that has a
// controller is spread over the nodes softly, so that replicas do not share one.
func (s *snapshot) spreadOf(pod *corev1.Pod) []constraint {
	var all []constraint
	for _, c := range pod.Spec.TopologySpreadConstraints {
		sel, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
		if err != nil {
			continue // refused by validation
		}
		sel = withKeys(sel, c.MatchLabelKeys, pod)
		all = append(all, s.count(pod, c.TopologyKey, int(c.MaxSkew), c.WhenUnsatisfiable == corev1.DoNotSchedule, sel))
	}
	if len(all) == 0 && metav1.GetControllerOfNoCopy(pod) != nil {
		all = append(all, s.count(pod, corev1.LabelHostname, 1, false, labels.SelectorFromSet(pod.Labels)))
	}
	return all
}

// withKeys narrows a selector to the pod's own values of some labels (KEP-3243).
func withKeys(sel labels.Selector, keys []string, pod *corev1.Pod) labels.Selector {
	for _, key := range keys {
		if v, ok := pod.Labels[key]; ok {
			reqs, _ := labels.SelectorFromSet(labels.Set{key: v}).Requirements()
			sel = sel.Add(reqs...)
		}
	}
	return sel
}

func (s *snapshot) count(pod *corev1.Pod, key string, maxSkew int, hard bool, sel labels.Selector) constraint {
	c := constraint{key: key, maxSkew: maxSkew, hard: hard, counts: map[string]int{}}
	if sel.Matches(labels.Set(pod.Labels)) {
		c.self = 1
	}
	counted := s.tally(pod.Namespace, sel)
	for _, n := range s.nodes {
		if domain, ok := n.node.Labels[key]; ok && selected(n.node, pod) {
			c.counts[domain] += counted.on[n]
		}
	}
	var counts []int
	for _, n := range c.counts {
		counts = append(counts, n)
	}
	if len(counts) > 0 {
		c.lowest = slices.Min(counts)
	}
	return c
}

// skew is how far the node's domain would be above the emptiest one with the pod on it.
func (c constraint) skew(n *nodeInfo) (skew int, known bool) {
	domain, ok := n.node.Labels[c.key]
	return c.counts[domain] + c.self - c.lowest, ok
}

func (c constraint) refuse(n *nodeInfo) string {
	if !c.hard {
		return ""
	}
	skew, known := c.skew(n)
	switch {
	case !known:
		return "node(s) didn't match pod topology spread constraints (missing required label)"
	case skew > c.maxSkew:
		return "node(s) didn't match pod topology spread constraints"
	}
	return ""
}
