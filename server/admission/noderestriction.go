package admission

import (
	"context"
	"errors"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

// nodeLabels are the labels below Kubernetes' own domains that a node may give itself; prefixes end with a slash.
var nodeLabels = []string{
	corev1.LabelHostname, corev1.LabelOSStable, corev1.LabelArchStable, corev1.LabelInstanceTypeStable,
	corev1.LabelTopologyRegion, corev1.LabelTopologyZone,
	"kubelet.kubernetes.io/", "node.kubernetes.io/",
}

// NodeRestriction returns the step that holds an agent to what is its own, whatever the authorizer could not see in the
// URL: its own Node, without taints or scheduling of its own choice, the status of pods that are bound to it, and its own
// Lease. Nothing that an agent writes may have an owner (CVE-2025-5187: a node that is deleted through its owner comes
// back with labels of its choice). It is Kubernetes' admission plugin of that name.
func NodeRestriction() Step {
	return func(_ context.Context, a *Attributes) error {
		node, ok := a.User.NodeName()
		if !ok {
			return nil
		}
		if reason := restricted(node, a); reason != "" {
			return apierrors.NewForbidden(a.Kind.GroupResource(), a.Name, errors.New("node '"+node+"' "+reason))
		}
		return nil
	}
}

// restricted says why the node may not do it; empty if it may.
func restricted(node string, a *Attributes) string {
	if a.Object != nil && !equality.Semantic.DeepEqual(a.Object.GetOwnerReferences(), owners(a.Old)) {
		return "may not set owner references"
	}
	switch a.Kind.GroupResource().String() {
	case "nodes":
		return restrictedNode(node, a)
	case "pods":
		return restrictedPod(node, a)
	case "leases.coordination.k8s.io":
		if a.Namespace != corev1.NamespaceNodeLease || name(a) != node {
			return "may only use its own lease"
		}
	case "events", "events.events.k8s.io":
	default:
		return "may not write " + a.Kind.Resource
	}
	return ""
}

func owners(old fsm.Value) []metav1.OwnerReference {
	if old == nil {
		return nil
	}
	return old.GetOwnerReferences()
}

// name is the object's: a creation has it in the body alone.
func name(a *Attributes) string {
	if a.Object != nil {
		return a.Object.GetName()
	}
	return a.Name
}

func restrictedNode(node string, a *Attributes) string {
	switch {
	case name(a) != node:
		return "may not touch node '" + name(a) + "'"
	case a.Operation == Delete:
		return "may not delete nodes"
	case a.Subresource == "status":
		return ""
	}
	next, ok := a.Object.(*corev1.Node)
	if !ok {
		return "may only change itself and its status"
	}
	old, _ := a.Old.(*corev1.Node)
	if old == nil {
		old = &corev1.Node{}
	}
	if !equality.Semantic.DeepEqual(next.Spec, old.Spec) {
		return "may not set taints, scheduling or anything else of its specification"
	}
	for _, key := range changedLabels(old.Labels, next.Labels) {
		if !nodeMayLabel(key) {
			return "may not set the label " + key
		}
	}
	return ""
}

func changedLabels(old, next map[string]string) []string {
	var keys []string
	for key, value := range next {
		if was, ok := old[key]; !ok || was != value {
			keys = append(keys, key)
		}
	}
	for key := range maps.Keys(old) {
		if _, ok := next[key]; !ok {
			keys = append(keys, key)
		}
	}
	return keys
}

// nodeMayLabel reports whether a node may set, change or remove the label on itself: those of other domains than
// Kubernetes', and those of nodeLabels.
func nodeMayLabel(key string) bool {
	domain, _, prefixed := strings.Cut(key, "/")
	if !prefixed {
		return true
	}
	for _, allowed := range nodeLabels {
		if key == allowed || prefixed && strings.HasSuffix("."+domain+"/", "."+allowed) {
			return true
		}
	}
	for _, reserved := range []string{"kubernetes.io", "k8s.io", "holt.dev"} {
		if domain == reserved || strings.HasSuffix(domain, "."+reserved) {
			return false
		}
	}
	return true
}

func restrictedPod(node string, a *Attributes) string {
	reporting := a.Operation == Update && a.Subresource == "status"
	finishing := a.Operation == Delete && a.Subresource == ""
	if !reporting && !finishing {
		return "may only report the status of pods, and delete those that have ended"
	}
	old, ok := a.Old.(*corev1.Pod)
	if !ok || old.Spec.NodeName != node {
		return "may only touch pods that are bound to it"
	}
	if next, ok := a.Object.(*corev1.Pod); ok && !maps.Equal(next.Labels, old.Labels) {
		return "may not change the labels of pods"
	}
	return ""
}
