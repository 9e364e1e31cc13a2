package scheduler

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers/podutil"
)

// nodeInfo is a node and what the pods on it take.
type nodeInfo struct {
	node      *corev1.Node
	pods      []*corev1.Pod
	requested amounts
	ports     map[hostPort]bool
}

type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

// snapshot is all nodes, with the placements of the present plan counted in.
type snapshot struct {
	view    fsm.View
	nodes   []*nodeInfo
	tallies map[tallyKey]*tally
	averse  []placed // pods that refuse the company of others
}

// placed is a pod and where it is.
type placed struct {
	pod *corev1.Pod
	on  *nodeInfo
}

// demand is a pod that waits and what it asks of a node.
type demand struct {
	pod    *corev1.Pod
	want   amounts
	ports  []hostPort
	spread []constraint
	kin    []kinship
}

// tally counts on each node the pods of a namespace that a selector selects. Replicas share one, so that placing many
// does not count all pods for each.
type tally struct {
	sel labels.Selector
	on  map[*nodeInfo]int
}

type tallyKey struct{ namespace, selector string }

func newSnapshot(v fsm.View) *snapshot {
	s := &snapshot{view: v, tallies: map[tallyKey]*tally{}}
	for o := range v.List("nodes", "") {
		n := &nodeInfo{node: o.Value.(*corev1.Node), requested: amounts{}, ports: map[hostPort]bool{}}
		for p := range v.ByIndex("pods", "node", o.Name) {
			if pod := p.Value.(*corev1.Pod); !podutil.Ended(pod) {
				s.assume(n, pod)
			}
		}
		s.nodes = append(s.nodes, n)
	}
	return s
}

// assume counts the pod in as being on the node.
func (s *snapshot) assume(n *nodeInfo, pod *corev1.Pod) {
	n.pods = append(n.pods, pod)
	n.requested.add(requests(pod))
	for _, p := range hostPorts(pod) {
		n.ports[p] = true
	}
	if isAverse(pod) {
		s.averse = append(s.averse, placed{pod, n})
	}
	for k, t := range s.tallies {
		if k.namespace == pod.Namespace && counts(t.sel, pod) {
			t.on[n]++
		}
	}
}

// tally counts once for all pods of the plan that ask the same.
func (s *snapshot) tally(namespace string, sel labels.Selector) *tally {
	key := tallyKey{namespace, sel.String()}
	if t := s.tallies[key]; t != nil {
		return t
	}
	t := &tally{sel, map[*nodeInfo]int{}}
	for _, n := range s.nodes {
		for _, p := range n.pods {
			if p.Namespace == namespace && counts(sel, p) {
				t.on[n]++
			}
		}
	}
	s.tallies[key] = t
	return t
}

// counts reports whether a pod is selected and not about to go.
func counts(sel labels.Selector, p *corev1.Pod) bool {
	return p.DeletionTimestamp == nil && sel.Matches(labels.Set(p.Labels))
}

func hostPorts(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	for _, c := range running(pod) {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				ports = append(ports, hostPort{p.HostIP, p.Protocol, p.HostPort})
			}
		}
	}
	return ports
}

// running are the containers that a pod has while it runs: the sidecars among its init containers, and all others.
func running(pod *corev1.Pod) []corev1.Container {
	all := slices.Clone(pod.Spec.Containers)
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			all = append(all, c)
		}
	}
	return all
}

// place returns the best node for the pod, or nil and the reasons why there is none.
func (s *snapshot) place(pod *corev1.Pod) (*nodeInfo, reasons) {
	why := reasons{}
	d := demand{pod, requests(pod), hostPorts(pod), s.spreadOf(pod), s.kinOf(pod)}
	var best *nodeInfo
	var bestScore float64
	for _, n := range s.nodes {
		if r := refuse(n, d); r != "" {
			why[r]++
			continue
		}
		// The first of equals wins: nodes come in order of their names, so the plan is the same for the same view.
		if score := score(n, d); best == nil || score > bestScore {
			best, bestScore = n, score
		}
	}
	return best, why
}
