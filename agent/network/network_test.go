package network_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"github.com/holt-project/holt/agent/network"
	"github.com/holt-project/holt/internal/nstest"
)

func TestPodsReachEachOtherAndTheNodes(t *testing.T) {
	a, b := twoNodes(t)
	peers := []network.Peer{a.peer(), b.peer()}
	for _, n := range []*node{a, b} {
		if err := n.net.SetPeers(peers); err != nil {
			t.Fatal(err)
		}
	}
	pod1, addr1 := a.pod(t, "one")
	pod2, addr2 := a.pod(t, "two")
	pod3, addr3 := b.pod(t, "three")
	for _, p := range []*nstest.NS{pod1, pod2, pod3} {
		serveAddress(t, p, ":8080")
	}
	wantAnswer(t, pod1, addr2.String()+":8080", addr1.String())
	wantAnswer(t, pod1, addr3.String()+":8080", addr1.String())
	wantAnswer(t, pod3, addr1.String()+":8080", addr3.String())
	wantAnswer(t, a.NS, addr1.String()+":8080", "192.0.2.1")
	wantAnswer(t, b.NS, addr1.String()+":8080", "192.0.2.2")

	// What is no pod sees the node's address.
	serveAddress(t, b.NS, "192.0.2.2:9090")
	wantAnswer(t, pod1, "192.0.2.2:9090", "192.0.2.1")

	if err := a.net.SetPeers([]network.Peer{a.peer()}); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, pod1, addr3.String()+":8080"); err == nil {
		t.Errorf("a node that is no peer any more still answers: %q", got)
	}
}

// A link that is raised but does not send yet would lose the first packet, which costs a second.
func TestAttachedLinkSends(t *testing.T) {
	n := oneNode(t)
	n.setup(t)
	for i := range 40 {
		ns, _ := n.pod(t, fmt.Sprint("pod", i))
		for _, end := range []*nstest.NS{ns, n.NS} {
			// A list shows the state as it is; asking for one link would change it.
			links, err := end.Links().LinkList()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range links {
				if state := l.Attrs().OperState; l.Type() == "veth" && state != netlink.OperUp {
					t.Fatalf("pod %d: %s is %s", i, l.Attrs().Name, state)
				}
			}
		}
	}
}

func TestOverlayCarriesPodsOverARouter(t *testing.T) {
	router := nstest.New(t)
	forward := func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644) }
	if err := router.Do(forward); err != nil {
		t.Fatal(err)
	}
	a, b := newNode(t, 1, "192.0.2.1"), newNode(t, 2, "198.51.100.2")
	nstest.Join(t, a.NS, "up0", netip.MustParsePrefix("192.0.2.1/24"), router, "a0", netip.MustParsePrefix("192.0.2.254/24"))
	nstest.Join(t, b.NS, "up0", netip.MustParsePrefix("198.51.100.2/24"), router, "b0", netip.MustParsePrefix("198.51.100.254/24"))
	a.DefaultVia(t, netip.MustParseAddr("192.0.2.254"))
	b.DefaultVia(t, netip.MustParseAddr("198.51.100.254"))
	peers := []network.Peer{a.peer(), b.peer()}
	var before []string
	for _, n := range []*node{a, b} {
		before = state(t, n.NS)
		n.setup(t)
		for range 2 { // the second finds all in place
			if err := n.net.SetPeers(peers); err != nil {
				t.Fatal(err)
			}
		}
	}
	pod1, addr1 := a.pod(t, "one")
	pod2, addr2 := b.pod(t, "two")
	serveAddress(t, pod2, ":8080")
	serveAddress(t, pod1, ":8080")
	wantAnswer(t, pod1, addr2.String()+":8080", addr1.String())
	wantAnswer(t, pod2, addr1.String()+":8080", addr2.String())
	wantAnswer(t, a.NS, addr2.String()+":8080", "10.42.1.0")

	link, err := pod1.Links().LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	if got := link.Attrs().MTU; got != 1450 {
		t.Errorf("MTU of a pod on the overlay: got %d, want 1450", got)
	}
	if err := b.net.Teardown(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, state(t, b.NS)); diff != "" {
		t.Errorf("after Teardown (-before +after):\n%s", diff)
	}
}

func TestPeersThatCannotBeRightAreRefused(t *testing.T) {
	a, b := twoNodes(t)
	good := b.peer()
	for name, bad := range map[string]network.Peer{
		"a subnet outside":        {Node: "x", NodeIP: netip.MustParseAddr("192.0.2.7"), PodCIDR: netip.MustParsePrefix("0.0.0.0/0")},
		"this node's subnet":      {Node: "x", NodeIP: netip.MustParseAddr("192.0.2.7"), PodCIDR: a.cfg.PodCIDR},
		"this node's address":     {Node: "x", NodeIP: a.cfg.NodeIP, PodCIDR: netip.MustParsePrefix("10.42.9.0/24")},
		"an address of a service": {Node: "x", NodeIP: netip.MustParseAddr("10.43.0.1"), PodCIDR: netip.MustParsePrefix("10.42.9.0/24")},
		"no subnet":               {Node: "x", NodeIP: netip.MustParseAddr("192.0.2.7")},
	} {
		t.Run(name, func(t *testing.T) {
			before := state(t, a.NS)
			if err := a.net.SetPeers([]network.Peer{bad}); err == nil {
				t.Error("it was taken")
			}
			if diff := cmp.Diff(before, state(t, a.NS)); diff != "" {
				t.Errorf("it changed something:\n%s", diff)
			}
		})
	}
	if err := a.net.SetPeers([]network.Peer{{Node: "x"}, good}); err == nil {
		t.Error("a peer without addresses was taken")
	}
	pod1, addr1 := a.pod(t, "one")
	if err := b.net.SetPeers([]network.Peer{a.peer()}); err != nil {
		t.Fatal(err)
	}
	pod2, addr2 := b.pod(t, "two")
	serveAddress(t, pod2, ":8080")
	wantAnswer(t, pod1, addr2.String()+":8080", addr1.String())
}

func TestAttachKeepsAddressOverRestart(t *testing.T) {
	n := oneNode(t)
	n.setup(t)
	ns, addr := n.pod(t, "one")
	serveAddress(t, ns, ":8080")
	again, err := n.net.Attach(t.Context(), "one", ns.Path())
	if err != nil || again != addr {
		t.Fatalf("attached again: got %v, %v; want %v", again, err, addr)
	}
	before := state(t, n.NS)

	n.net.Close()
	n.setup(t) // the agent starts again
	if diff := cmp.Diff(before, state(t, n.NS)); diff != "" {
		t.Errorf("a second Setup changed something:\n%s", diff)
	}
	wantAnswer(t, n.NS, addr.String()+":8080", "192.0.2.1")
	fresh := nstest.New(t) // the pod's sandbox was made anew
	again, err = n.net.Attach(t.Context(), "one", fresh.Path())
	if err != nil || again != addr {
		t.Fatalf("attached to a new namespace: got %v, %v; want %v", again, err, addr)
	}
	serveAddress(t, fresh, ":9090")
	wantAnswer(t, n.NS, addr.String()+":9090", "192.0.2.1")
}

func TestAddressesAreUsedInTurn(t *testing.T) {
	n := oneNode(t)
	n.cfg.PodCIDR = netip.MustParsePrefix("10.42.1.0/29") // six addresses
	n.setup(t)
	_, first := n.pod(t, "first")
	if err := n.net.Detach(t.Context(), "first"); err != nil {
		t.Fatal(err)
	}
	if err := n.net.Detach(t.Context(), "first"); err != nil {
		t.Errorf("detached twice: %v", err)
	}
	seen := map[netip.Addr]bool{}
	for i := range 5 {
		_, a := n.pod(t, fmt.Sprint("pod", i))
		if a == first || seen[a] {
			t.Errorf("address %s was given again too early", a)
		}
		seen[a] = true
	}
	if _, last := n.pod(t, "last"); last != first {
		t.Errorf("the last address: got %s, want %s", last, first)
	}
	if _, err := n.net.Attach(t.Context(), "more", nstest.New(t).Path()); !errors.Is(err, network.ErrNoAddress) {
		t.Errorf("a full subnet: got %v, want ErrNoAddress", err)
	}
}

func TestSweepAndTeardownLeaveNothing(t *testing.T) {
	n := oneNode(t)
	before := state(t, n.NS)
	n.setup(t)
	_, kept := n.pod(t, "kept")
	keptState := state(t, n.NS)
	n.pod(t, "lost")
	if err := n.net.Sweep([]string{"kept"}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keptState, state(t, n.NS)); diff != "" {
		t.Errorf("after Sweep:\n%s", diff)
	}
	if _, a := n.pod(t, "new"); a == kept {
		t.Errorf("the kept pod's address %s was given again", a)
	}
	for range 2 {
		if err := n.net.Teardown(); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(before, state(t, n.NS)); diff != "" {
		t.Errorf("after Teardown:\n%s", diff)
	}
}

func TestForgedSourceIsDropped(t *testing.T) {
	n := oneNode(t)
	n.setup(t)
	honest, _ := n.pod(t, "honest")
	liar, _ := n.pod(t, "liar")
	_, victim := n.pod(t, "victim")
	server := n.ListenPacket(t, "192.0.2.1:5353")

	lo, err := liar.Links().LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	alien := &net.IPNet{IP: victim.AsSlice(), Mask: net.CIDRMask(32, 32)}
	if err := liar.Links().AddrAdd(lo, &netlink.Addr{IPNet: alien}); err != nil {
		t.Fatal(err)
	}
	forged := liar.ListenPacket(t, victim.String()+":4000")
	to := net.UDPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.1:5353"))
	if _, err := forged.WriteTo([]byte("forged"), to); err != nil {
		t.Fatal(err)
	}
	own := honest.ListenPacket(t, ":4000")
	if _, err := own.WriteTo([]byte("honest"), to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	_ = server.SetReadDeadline(time.Now().Add(10 * time.Second))
	got, from, err := server.ReadFrom(buf)
	if err != nil || string(buf[:got]) != "honest" {
		t.Errorf("got %q from %v, %v; want only the honest packet", buf[:got], from, err)
	}
}

func TestSetupRefusesWhatCannotWork(t *testing.T) {
	n := oneNode(t)
	before := state(t, n.NS)
	for name, change := range map[string]func(*network.Config){
		"address of another machine": func(c *network.Config) { c.NodeIP = netip.MustParseAddr("192.0.2.77") },
		"pods outside the cluster":   func(c *network.Config) { c.PodCIDR = netip.MustParsePrefix("10.99.0.0/24") },
		"services among the pods":    func(c *network.Config) { c.ServiceCIDR = netip.MustParsePrefix("10.42.128.0/17") },
		"no service range":           func(c *network.Config) { c.ServiceCIDR = netip.Prefix{} },
		"IPv6":                       func(c *network.Config) { c.NodeIP = netip.IPv6Loopback() },
		"unknown overlay":            func(c *network.Config) { c.Overlay = "maybe" },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := n.cfg
			change(&cfg)
			err := n.Do(func() error {
				_, err := network.Setup(t.Context(), cfg, slog.New(slog.DiscardHandler))
				return err
			})
			if err == nil {
				t.Error("no error")
			}
			if diff := cmp.Diff(before, state(t, n.NS)); diff != "" {
				t.Errorf("it changed something:\n%s", diff)
			}
		})
	}
	n.setup(t)
	if _, err := n.net.Attach(t.Context(), "host", n.Path()); err == nil {
		t.Error("the node's own namespace was attached")
	}
}
