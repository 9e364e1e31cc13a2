package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// Mark is the packet mark of answers to transparent sockets, and Table the routing table that takes them
	// in. See section 8 of the design.
	Mark  = 1
	Table = 100

	rulePriority  = 100
	routeProtocol = 72
)

// Overlay says when pod subnets of other nodes are reached over VXLAN.
type Overlay string

const (
	// OverlayAuto uses VXLAN for the nodes that no connected network reaches. It is the default.
	OverlayAuto Overlay = "auto"
	// OverlayAlways uses it for all nodes, for networks that drop packets with unknown addresses.
	OverlayAlways Overlay = "always"
	// OverlayNever refuses peers that only VXLAN would reach.
	OverlayNever Overlay = "never"
)

// Config describes the node. All prefixes and addresses are IPv4.
type Config struct {
	Node        string
	NodeIP      netip.Addr   // an address of this machine; peers route to it
	PodCIDR     netip.Prefix // this node's part of ClusterCIDR
	ClusterCIDR netip.Prefix // all pods of the cluster
	ServiceCIDR netip.Prefix
	StateDir    string // made when it does not exist
	Overlay     Overlay
}

func (c Config) validate() error {
	if !c.NodeIP.Is4() {
		return fmt.Errorf("network: the node's address must be IPv4, not %q", c.NodeIP)
	}
	for name, p := range map[string]netip.Prefix{
		"pod subnet": c.PodCIDR, "cluster subnet": c.ClusterCIDR, "service range": c.ServiceCIDR,
	} {
		if !p.IsValid() || !p.Addr().Is4() || p != p.Masked() {
			return fmt.Errorf("network: the %s must be an IPv4 prefix such as 10.42.0.0/16, not %q", name, p)
		}
	}
	switch {
	case !within(c.ClusterCIDR, c.PodCIDR):
		return fmt.Errorf("network: the pod subnet %s is not in the cluster subnet %s", c.PodCIDR, c.ClusterCIDR)
	case c.ServiceCIDR.Overlaps(c.ClusterCIDR):
		return fmt.Errorf("network: the service range %s overlaps the cluster subnet %s", c.ServiceCIDR, c.ClusterCIDR)
	case c.ServiceCIDR.Contains(c.NodeIP) || c.ClusterCIDR.Contains(c.NodeIP):
		return fmt.Errorf("network: the node's address %s is in a range of pods or services; choose other ranges", c.NodeIP)
	case c.StateDir == "":
		return errors.New("network: no state folder given")
	}
	switch c.Overlay {
	case "", OverlayAuto, OverlayAlways, OverlayNever:
		return nil
	}
	return fmt.Errorf("network: overlay is auto, always or never, not %q", c.Overlay)
}

func within(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// Network is a node's part of the pod network. Make it with Setup.
type Network struct {
	cfg Config
	log *slog.Logger
	ns  netns.NsHandle  // the node's namespace; the descriptor is owned
	nl  *netlink.Handle // bound to ns

	mu     sync.Mutex // one change of the kernel's state at a time
	leases *leases    // guarded by mu
}

// Setup prepares the network namespace of the calling thread: forwarding, the service range, the way back
// for transparent sockets, masquerading of pods that talk to the world. It may be repeated, and running pods
// do not notice. The caller owns the result and ends it with Close, which leaves all of it in place.
func Setup(ctx context.Context, cfg Config, log *slog.Logger) (*Network, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("network: make the state folder: %w", err)
	}
	leases, err := openLeases(cfg.StateDir, cfg.PodCIDR)
	if err != nil {
		return nil, err
	}

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("network: open the namespace: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("network: open netlink: %w", err)
	}
	n := &Network{cfg: cfg, log: log, ns: ns, nl: nl, leases: leases}
	if err := n.setup(); err != nil {
		n.Close()
		return nil, fmt.Errorf("network: set up: %w", err)
	}
	return n, nil
}

// setup runs on a thread that is in n.ns.
func (n *Network) setup() error {
	if _, err := n.uplink(); err != nil {
		return err
	}
	// /proc/sys/net shows the namespace of the thread that opens it.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return fmt.Errorf("turn on forwarding: %w", err)
	}
	lo, err := n.nl.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find the loopback: %w", err)
	}
	if err := n.nl.LinkSetUp(lo); err != nil {
		return fmt.Errorf("raise the loopback: %w", err)
	}
	if err := n.installRoutes(lo.Attrs().Index); err != nil {
		return err
	}
	if err := n.installRule(); err != nil {
		return err
	}
	return n.installFilter()
}

// uplink is the link that carries the node's address.
func (n *Network) uplink() (netlink.Link, error) {
	addrs, err := settled(func() ([]netlink.Addr, error) { return n.nl.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && ip == n.cfg.NodeIP {
			return n.nl.LinkByIndex(a.LinkIndex)
		}
	}
	return nil, fmt.Errorf("no link of this machine has the node's address %s: set the node's address to one that it has", n.cfg.NodeIP)
}

// Close gives back descriptors and changes nothing in the kernel: pods keep their network.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.nl.Close()
	_ = n.ns.Close()
}

// Teardown removes all that this package made: pod links, the overlay, routes, rules, the nftables table and
// the record of addresses. Forwarding stays on, because others may have come to rely on it.
func (n *Network) Teardown() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	links := n.removePodLinks(nil)
	overlay := n.removeOverlay()
	err := errors.Join(links, overlay, n.removeRoutes(nil), n.removeRule(), n.removeFilter())
	if err != nil {
		return fmt.Errorf("network: tear down: %w", err)
	}
	return n.leases.destroy()
}

// settled repeats a dump that the kernel says was disturbed by a change; each is complete or an error.
func settled[T any](dump func() ([]T, error)) ([]T, error) {
	const tries = 16
	for i := 1; ; i++ {
		out, err := dump()
		if err == nil || i == tries || !errors.Is(err, netlink.ErrDumpInterrupted) {
			return out, err
		}
	}
}

func ipnet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func host(a netip.Addr) *net.IPNet { return ipnet(netip.PrefixFrom(a, a.BitLen())) }

// ignore makes an error of the wanted state ("it is gone already") none.
func ignore(err error, wanted ...error) error {
	for _, w := range wanted {
		if errors.Is(err, w) {
			return nil
		}
	}
	var missing netlink.LinkNotFoundError
	if errors.As(err, &missing) {
		return nil
	}
	return err
}
