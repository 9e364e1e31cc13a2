package nodeipam_test

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/nodeipam"
)

// Whatever nodes come and go, no two have subnets that overlap, each is in the cluster's range, and a node keeps what it
// has.
func TestSubnetsAreUnique(t *testing.T) {
	cluster := netip.MustParsePrefix("10.42.0.0/21") // eight nodes
	rapid.Check(t, func(rt *rapid.T) {
		c := ct.New(rt)
		loop := c.Loop(nodeipam.New(cluster))
		had := map[string]string{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			name := fmt.Sprintf("n%d", rapid.IntRange(0, 9).Draw(rt, "node"))
			if n, there := ct.Find[*corev1.Node](c, name); there {
				c.Delete(n)
				delete(had, name)
			} else {
				n := ct.Node(name, 10, c.Time())
				if rapid.IntRange(0, 5).Draw(rt, "chosen") == 0 && len(had) == 0 {
					n.Spec.PodCIDR = "10.42.2.0/23" // a user's, of another size
				}
				c.Create(n)
			}
			c.Settle(nil, loop)
			c.Idle(loop)
			seen := map[string]netip.Prefix{}
			for _, n := range ct.List[*corev1.Node](c) {
				if n.Spec.PodCIDR == "" {
					continue
				}
				p := netip.MustParsePrefix(n.Spec.PodCIDR)
				for other, q := range seen {
					if p.Overlaps(q) {
						rt.Fatalf("%s has %v and %s %v", n.Name, p, other, q)
					}
				}
				if was := had[n.Name]; was != "" && was != n.Spec.PodCIDR {
					rt.Fatalf("%s had %s and has %s", n.Name, was, n.Spec.PodCIDR)
				}
				if !cluster.Contains(p.Addr()) {
					rt.Fatalf("%v is not in %v", p, cluster)
				}
				seen[n.Name], had[n.Name] = p, n.Spec.PodCIDR
			}
		}
	})
}

func TestExhaustionIsSaidOnce(t *testing.T) {
	c := ct.New(t)
	loop := c.Loop(nodeipam.New(netip.MustParsePrefix("10.42.0.0/24")))
	c.Create(ct.Node("a", 10, c.Time()), ct.Node("b", 10, c.Time()))
	for i := range 5 {
		ct.Edit(c, "a", func(n *corev1.Node) { n.Labels["i"] = fmt.Sprint(i) })
		c.Settle(nil, loop)
	}
	events := ct.List[*corev1.Event](c)
	if len(events) != 1 || events[0].Count != 1 || events[0].InvolvedObject.Name != "b" || events[0].Reason != "CIDRNotAvailable" {
		t.Fatalf("events %v", events)
	}
	c.Delete(ct.Get[*corev1.Node](c, "a"))
	c.Settle(nil, loop)
	if b := ct.Get[*corev1.Node](c, "b"); b.Spec.PodCIDR != "10.42.0.0/24" || len(b.Spec.PodCIDRs) != 1 {
		t.Errorf("b has %q after a went", b.Spec.PodCIDR)
	}
}

func TestRangesThatHoldNothing(t *testing.T) {
	for _, r := range []string{"10.42.0.0/25", "fd00::/48"} {
		c := ct.New(t)
		loop := c.Loop(nodeipam.New(netip.MustParsePrefix(r)))
		c.Create(ct.Node("a", 10, c.Time()))
		c.Settle(nil, loop)
		if got := ct.Get[*corev1.Node](c, "a").Spec.PodCIDR; got != "" {
			t.Errorf("%s gave %s", r, got)
		}
	}
}
