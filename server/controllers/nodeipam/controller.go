package nodeipam

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

const (
	resource = "nodes"
	// nodeBits is the length of a node's prefix: 254 pods.
	nodeBits = 24
	// exhausted is the reason of the event about a node that gets no subnet.
	exhausted = "CIDRNotAvailable"
)

// all is the only key: one plan serves every node.
var all = []fsm.Key{{Resource: resource}}

// New returns the controller that hands out subnets of cluster, an IPv4 prefix.
func New(cluster netip.Prefix) controllers.Controller {
	return controllers.Controller{
		Name:    "node-ipam-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{resource: func(fsm.View, *fsm.Object) []fsm.Key { return all }},
		Plan: func(v fsm.View, _ fsm.Key, _ time.Time) controllers.Plan {
			return plan(v, cluster)
		},
	}
}

func plan(v fsm.View, cluster netip.Prefix) controllers.Plan {
	var p controllers.Plan
	taken := map[string]bool{}
	var odd []netip.Prefix // subnets of another size, which users chose
	var without []*corev1.Node
	for o := range v.List(resource, "") {
		node := o.Value.(*corev1.Node)
		if node.Spec.PodCIDR == "" {
			without = append(without, node)
		}
		taken[node.Spec.PodCIDR] = true
		if c, err := netip.ParsePrefix(node.Spec.PodCIDR); err == nil && c.Bits() != nodeBits {
			odd = append(odd, c)
		}
	}
	next := uint32(0)
	for _, node := range without {
		for next < size(cluster) && (taken[subnet(cluster, next).String()] || overlaps(odd, subnet(cluster, next))) {
			next++
		}
		if next >= size(cluster) {
			complain(v, &p, node, cluster)
			continue
		}
		n := node.DeepCopy()
		n.Spec.PodCIDR = subnet(cluster, next).String()
		n.Spec.PodCIDRs = []string{n.Spec.PodCIDR}
		p.Update(resource, n)
		next++
	}
	return p
}

// complain says that there is no subnet left, as long as the user is not told already: every change of any node comes
// by here.
func complain(v fsm.View, p *controllers.Plan, node *corev1.Node, cluster netip.Prefix) {
	for o := range v.List("events", metav1.NamespaceDefault) {
		if e := o.Value.(*corev1.Event); e.InvolvedObject.UID == node.UID && e.Reason == exhausted {
			return
		}
	}
	p.Record(resource, node, corev1.EventTypeWarning, exhausted,
		"The cluster's range "+cluster.String()+" has no free subnet for this node")
}

// size is how many subnets the cluster's range has.
func size(cluster netip.Prefix) uint32 {
	if !cluster.Addr().Is4() || cluster.Bits() > nodeBits {
		return 0
	}
	return 1 << (nodeBits - cluster.Bits())
}

func subnet(cluster netip.Prefix, n uint32) netip.Prefix {
	base := cluster.Masked().Addr().As4()
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(base[:])+n<<(32-nodeBits))
	return netip.PrefixFrom(netip.AddrFrom4(a), nodeBits)
}

func overlaps(some []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(some, p.Overlaps)
}
