package scheduler

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/holt-project/holt/fsm"
)

// Why a node is refused for the pods that are on it or near it.
const (
	reasonLonely   = "node(s) didn't match pod affinity rules"
	reasonCrowded  = "node(s) didn't match pod anti-affinity rules"
	reasonUnwanted = "node(s) didn't satisfy existing pods anti-affinity rules"
)

// kinship is one required rule about the company of other pods: the domains of key in which they are.
type kinship struct {
	key    string
	near   map[string]bool // domains with such pods
	wanted bool            // must the pod be in one of the domains, or in none?
	reason string
}

func (k kinship) refuses(n *nodeInfo) bool {
	domain, known := n.node.Labels[k.key]
	if k.wanted {
		return !known || (k.near != nil && !k.near[domain])
	}
	return known && k.near[domain]
}

// kinOf evaluates the pod's required affinity and anti-affinity, and the anti-affinity of those that are there.
func (s *snapshot) kinOf(pod *corev1.Pod) []kinship {
	var all []kinship
	for _, t := range affinityOf(pod) {
		k := kinship{key: t.TopologyKey, near: s.domains(pod, t), wanted: true, reason: reasonLonely}
		if len(k.near) == 0 && s.matches(pod, t, pod) {
			k.near = nil // the first of a group that wants to be together goes anywhere
		}
		all = append(all, k)
	}
	for _, t := range aversionOf(pod) {
		all = append(all, kinship{key: t.TopologyKey, near: s.domains(pod, t), reason: reasonCrowded})
	}
	for _, other := range s.averse {
		for _, t := range aversionOf(other.pod) {
			if domain, known := other.on.node.Labels[t.TopologyKey]; known && s.matches(other.pod, t, pod) {
				all = append(all, kinship{key: t.TopologyKey, near: map[string]bool{domain: true}, reason: reasonUnwanted})
			}
		}
	}
	return all
}

func affinityOf(pod *corev1.Pod) []corev1.PodAffinityTerm {
	if a := pod.Spec.Affinity; a != nil && a.PodAffinity != nil {
		return a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

func aversionOf(pod *corev1.Pod) []corev1.PodAffinityTerm {
	if a := pod.Spec.Affinity; a != nil && a.PodAntiAffinity != nil {
		return a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	}
	return nil
}

func isAverse(pod *corev1.Pod) bool { return len(aversionOf(pod)) > 0 }

// domains are the values of the term's topology key on the nodes of pods that the term means. It is never nil.
func (s *snapshot) domains(pod *corev1.Pod, t corev1.PodAffinityTerm) map[string]bool {
	near := map[string]bool{}
	for _, n := range s.nodes {
		domain, known := n.node.Labels[t.TopologyKey]
		for _, p := range n.pods {
			if !known || near[domain] {
				break
			}
			near[domain] = s.matches(pod, t, p)
		}
	}
	for domain, is := range near {
		if !is {
			delete(near, domain)
		}
	}
	return near
}

// matches reports whether owner's term means the other pod.
func (s *snapshot) matches(owner *corev1.Pod, t corev1.PodAffinityTerm, other *corev1.Pod) bool {
	sel, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
	if err != nil {
		return false // refused by validation
	}
	sel = without(withKeys(sel, t.MatchLabelKeys, owner), t.MismatchLabelKeys, owner)
	return sel.Matches(labels.Set(other.Labels)) && s.inNamespaces(owner, t, other.Namespace)
}

// inNamespaces reports whether a term is about a namespace: without a word about them it is the owner's own.
func (s *snapshot) inNamespaces(owner *corev1.Pod, t corev1.PodAffinityTerm, namespace string) bool {
	if len(t.Namespaces) == 0 && t.NamespaceSelector == nil {
		return namespace == owner.Namespace
	}
	for _, n := range t.Namespaces {
		if n == namespace {
			return true
		}
	}
	sel, err := metav1.LabelSelectorAsSelector(t.NamespaceSelector)
	if err != nil {
		return false
	}
	ns, ok := s.view.Get(fsm.Key{Resource: "namespaces", Name: namespace})
	return ok && sel.Matches(labels.Set(ns.Value.GetLabels()))
}

// without narrows a selector to pods that differ from the pod in some labels (KEP-3633).
func without(sel labels.Selector, keys []string, pod *corev1.Pod) labels.Selector {
	for _, key := range keys {
		v, ok := pod.Labels[key]
		if !ok {
			continue
		}
		if r, err := labels.NewRequirement(key, selection.NotIn, []string{v}); err == nil {
			sel = sel.Add(*r)
		}
	}
	return sel
}
