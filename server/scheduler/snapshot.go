package scheduler

import (
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
type snapshot struct{ nodes []*nodeInfo }

func newSnapshot(v fsm.View) *snapshot {
	s := &snapshot{}
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
}

func hostPorts(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.HostPort != 0 {
				ports = append(ports, hostPort{p.HostIP, p.Protocol, p.HostPort})
			}
		}
	}
	return ports
}

// place returns the best node for the pod, or nil and the reasons why there is none.
func (s *snapshot) place(pod *corev1.Pod) (*nodeInfo, reasons) {
	why := reasons{}
	spread := s.spreadOf(pod)
	var best *nodeInfo
	var bestScore float64
	for _, n := range s.nodes {
		if r := refuse(n, pod, spread); r != "" {
			why[r]++
			continue
		}
		// The first of equals wins: nodes come in order of their names, so the plan is the same for the same view.
		if score := score(n, pod, spread); best == nil || score > bestScore {
			best, bestScore = n, score
		}
	}
	return best, why
}

// matching counts the pods of namespace on the node that sel selects and that are not about to go.
func (n *nodeInfo) matching(namespace string, sel labels.Selector) (count int) {
	for _, p := range n.pods {
		if p.Namespace == namespace && p.DeletionTimestamp == nil && sel.Matches(labels.Set(p.Labels)) {
			count++
		}
	}
	return count
}
