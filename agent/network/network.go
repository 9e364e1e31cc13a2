package network

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"sync"
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
	node *node

	mu      sync.Mutex // one change of the kernel's state at a time; guards what follows
	leases  *leases
	links   *links
	routes  *routes
	overlay *overlay
	peering *peering
	filter  *filter
}

// Setup prepares the network namespace of the calling thread: forwarding, the service range, the way back
// for transparent sockets, masquerading of pods that talk to the world. It may be repeated, and running pods
// do not notice. The caller owns the result and ends it with Close, which leaves all of it in place.
func Setup(ctx context.Context, cfg Config, _ *slog.Logger) (*Network, error) {
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

	// What is opened and what is prepared must be the same namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	node, err := openNode(cfg.NodeIP)
	if err != nil {
		return nil, err
	}
	n := newNetwork(cfg, node, leases)
	if err := n.setup(); err != nil {
		n.Close()
		return nil, fmt.Errorf("network: set up: %w", err)
	}
	return n, nil
}

func newNetwork(cfg Config, node *node, leases *leases) *Network {
	routes := &routes{node: node, podCIDR: cfg.PodCIDR, serviceCIDR: cfg.ServiceCIDR}
	overlay := &overlay{node: node, use: cfg.Overlay, podCIDR: cfg.PodCIDR}
	return &Network{
		node:    node,
		leases:  leases,
		links:   &links{node: node, overlay: overlay},
		routes:  routes,
		overlay: overlay,
		peering: &peering{cfg: cfg, node: node, routes: routes, overlay: overlay},
		filter:  &filter{ns: node.ns, podCIDR: cfg.PodCIDR, clusterCIDR: cfg.ClusterCIDR, serviceCIDR: cfg.ServiceCIDR},
	}
}

// setup runs on a thread that is in the node's namespace.
func (n *Network) setup() error {
	lo, err := n.node.prepare()
	if err != nil {
		return err
	}
	if err := n.routes.install(lo); err != nil {
		return err
	}
	if err := n.routes.installRule(); err != nil {
		return err
	}
	return n.filter.install()
}

// Close gives back descriptors and changes nothing in the kernel: pods keep their network.
func (n *Network) Close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.node.close()
}

// Teardown removes all that this package made: pod links, the overlay, routes, rules, the nftables table and
// the record of addresses. Forwarding stays on, because others may have come to rely on it.
func (n *Network) Teardown() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	err := errors.Join(
		n.links.removeAllBut(nil), n.overlay.remove(),
		n.routes.removeAllBut(nil), n.routes.removeRule(), n.filter.remove())
	if err != nil {
		return fmt.Errorf("network: tear down: %w", err)
	}
	return n.leases.destroy()
}
