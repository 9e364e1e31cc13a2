package network_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sort"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/agent/network"
	"github.com/holt-project/holt/internal/nstest"
)

var (
	clusterCIDR = netip.MustParsePrefix("10.42.0.0/16")
	serviceCIDR = netip.MustParsePrefix("10.43.0.0/16")
)

// node is a host of the test: a namespace, and its pods' network.
type node struct {
	*nstest.NS
	cfg network.Config
	net *network.Network
}

func newNode(t *testing.T, number int, ip string) *node {
	t.Helper()
	return &node{NS: nstest.New(t), cfg: network.Config{
		Node:        fmt.Sprintf("node%d", number),
		NodeIP:      netip.MustParseAddr(ip),
		PodCIDR:     netip.MustParsePrefix(fmt.Sprintf("10.42.%d.0/24", number)),
		ClusterCIDR: clusterCIDR, ServiceCIDR: serviceCIDR, StateDir: t.TempDir(),
	}}
}

func (n *node) setup(t *testing.T) {
	t.Helper()
	err := n.Do(func() (err error) {
		n.net, err = network.Setup(t.Context(), n.cfg, slog.New(slog.DiscardHandler))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.net.Close)
}

func (n *node) peer() network.Peer {
	return network.Peer{Node: n.cfg.Node, NodeIP: n.cfg.NodeIP, PodCIDR: n.cfg.PodCIDR}
}

func (n *node) pod(t *testing.T, uid string) (*nstest.NS, netip.Addr) {
	t.Helper()
	ns := nstest.New(t)
	addr, err := n.net.Attach(t.Context(), uid, ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	return ns, addr
}

// oneNode is a node alone, with its uplink to nowhere.
func oneNode(t *testing.T) *node {
	t.Helper()
	n := newNode(t, 1, "192.0.2.1")
	nstest.Join(t, n.NS, "up0", netip.MustParsePrefix("192.0.2.1/24"), nstest.New(t), "far", netip.MustParsePrefix("192.0.2.9/24"))
	return n
}

func twoNodes(t *testing.T) (a, b *node) {
	t.Helper()
	a, b = newNode(t, 1, "192.0.2.1"), newNode(t, 2, "192.0.2.2")
	nstest.Join(t, a.NS, "up0", netip.MustParsePrefix("192.0.2.1/24"), b.NS, "up0", netip.MustParsePrefix("192.0.2.2/24"))
	a.setup(t)
	b.setup(t)
	return a, b
}

// serveAddress answers every connection with the address that it came from.
func serveAddress(t *testing.T, ns *nstest.NS, addr string) {
	t.Helper()
	l := ns.Listen(t, addr)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = io.WriteString(c, host)
			_ = c.Close()
		}
	}()
}

func ask(t *testing.T, ns *nstest.NS, addr string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := ns.Dial(ctx, "tcp4", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.ReadAll(c)
	return string(got), err
}

func wantAnswer(t *testing.T, ns *nstest.NS, addr, want string) {
	t.Helper()
	got, err := ask(t, ns, addr)
	if err != nil || got != want {
		t.Errorf("asking %s: got %q, %v; want %q", addr, got, err, want)
	}
}

// state is all that Setup and Attach may leave in a namespace.
func state(t *testing.T, ns *nstest.NS) []string {
	t.Helper()
	var out []string
	links, err := ns.Links().LinkList()
	if err != nil {
		t.Fatal(err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		out = append(out, "link "+l.Attrs().Name)
	}
	routes, err := ns.Links().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		out = append(out, fmt.Sprintf("route %v dev %s via %v src %v type %d table %d", r.Dst, names[r.LinkIndex], r.Gw, r.Src, r.Type, r.Table))
	}
	rules, err := ns.Links().RuleList(netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		out = append(out, fmt.Sprintf("rule %d mark %d table %d", r.Priority, r.Mark, r.Table))
	}
	fd, err := netns.GetFromPath(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	c, err := nftables.New(nftables.WithNetNSFd(int(fd)))
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range tables {
		out = append(out, "table "+tab.Name)
	}
	sort.Strings(out)
	return out
}
