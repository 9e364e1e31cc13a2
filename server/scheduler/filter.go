package scheduler

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/server/controllers/podutil"
)

// reasons counts by reason the nodes that a pod does not fit on.
type reasons map[string]int

// message sums the reasons up as Kubernetes' scheduler does.
func (r reasons) message(nodes int) string {
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	keys := slices.SortedFunc(maps.Keys(r), func(a, b string) int {
		return cmp.Or(cmp.Compare(r[b], r[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(keys))
	for i, k := range keys {
		parts[i] = fmt.Sprintf("%d %s", r[k], k)
	}
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}

// refuse returns why the pod does not fit on the node; empty if it does.
func refuse(n *nodeInfo, d demand) string {
	pod := d.pod
	if n.node.DeletionTimestamp != nil || (n.node.Spec.Unschedulable && !toleratesUnschedulable(pod)) {
		return "node(s) were unschedulable"
	}
	if t := untolerated(n.node, pod); t != nil {
		return fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)
	}
	if !selected(n.node, pod) {
		return "node(s) didn't match Pod's node affinity/selector"
	}
	for _, p := range d.ports {
		if n.taken(p) {
			return "node(s) didn't have free ports for the requested pod ports"
		}
	}
	if r := n.insufficient(d.want); r != "" {
		return r
	}
	for _, c := range d.spread {
		if r := c.refuse(n); r != "" {
			return r
		}
	}
	for _, k := range d.kin {
		if k.refuses(n) {
			return k.reason
		}
	}
	return ""
}

func toleratesUnschedulable(pod *corev1.Pod) bool {
	return tolerated(pod, &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule})
}

func tolerated(pod *corev1.Pod, t *corev1.Taint) bool {
	return slices.ContainsFunc(pod.Spec.Tolerations, func(tol corev1.Toleration) bool { return podutil.Tolerates(&tol, t) })
}

func untolerated(node *corev1.Node, pod *corev1.Pod) *corev1.Taint {
	for i := range node.Spec.Taints {
		t := &node.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerated(pod, t) {
			return t
		}
	}
	return nil
}

// taken reports whether a pod on the node has the port already; the empty address and 0.0.0.0 mean all of them.
func (n *nodeInfo) taken(p hostPort) bool {
	wild := func(ip string) bool { return ip == "" || ip == "0.0.0.0" }
	for have := range n.ports {
		if have.port == p.port && have.protocol == p.protocol && (wild(have.ip) || wild(p.ip) || have.ip == p.ip) {
			return true
		}
	}
	return false
}

func (n *nodeInfo) insufficient(want amounts) string {
	if pods := n.node.Status.Allocatable.Pods(); int64(len(n.pods)) >= pods.Value() {
		return "Too many pods"
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		free := amount(name, n.node.Status.Allocatable[name]) - n.requested[name]
		if want[name] > 0 && want[name] > free {
			return "Insufficient " + string(name)
		}
	}
	return ""
}

// selected evaluates nodeSelector and the required node affinity, whose terms are alternatives.
func selected(node *corev1.Node, pod *corev1.Pod) bool {
	if !labels.SelectorFromSet(pod.Spec.NodeSelector).Matches(labels.Set(node.Labels)) {
		return false
	}
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return true
	}
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	return slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool { return termMatches(node, t) })
}

func termMatches(node *corev1.Node, t corev1.NodeSelectorTerm) bool {
	if len(t.MatchExpressions)+len(t.MatchFields) == 0 {
		return false // an empty term selects nothing
	}
	return allMatch(t.MatchExpressions, node.Labels) &&
		allMatch(t.MatchFields, map[string]string{"metadata.name": node.Name})
}

func allMatch(rs []corev1.NodeSelectorRequirement, set map[string]string) bool {
	for _, r := range rs {
		if !requirementMatches(r, set) {
			return false
		}
	}
	return true
}

func requirementMatches(r corev1.NodeSelectorRequirement, set map[string]string) bool {
	value, has := set[r.Key]
	switch r.Operator {
	case corev1.NodeSelectorOpExists:
		return has
	case corev1.NodeSelectorOpDoesNotExist:
		return !has
	case corev1.NodeSelectorOpIn:
		return has && slices.Contains(r.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !has || !slices.Contains(r.Values, value)
	}
	return numberMatches(r, value, has)
}

// numberMatches evaluates Gt and Lt, which compare whole numbers.
func numberMatches(r corev1.NodeSelectorRequirement, value string, has bool) bool {
	if !has || len(r.Values) != 1 {
		return false
	}
	have, err1 := strconv.ParseInt(value, 10, 64)
	bound, err2 := strconv.ParseInt(r.Values[0], 10, 64)
	if err1 != nil || err2 != nil {
		return false
	}
	return (r.Operator == corev1.NodeSelectorOpGt && have > bound) || (r.Operator == corev1.NodeSelectorOpLt && have < bound)
}
