package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Peer is another node of the cluster.
type Peer struct {
	Node    string
	NodeIP  netip.Addr
	PodCIDR netip.Prefix
}

// SetPeers makes the routes to other nodes' pods be exactly those of peers. It may be called at any time with
// the present state, and touches only what differs. This node itself is passed over. A peer with a subnet or an
// address that cannot be right is refused with an error, and does not stop the others.
func (n *Network) SetPeers(peers []Peer) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.peering.set(peers)
}

// peering decides how other nodes' pods are reached.
type peering struct {
	cfg     Config
	node    *node
	routes  *routes
	overlay *overlay
}

func (pg *peering) set(peers []Peer) error {
	var errs []error
	var direct, overlaid []Peer
	taken := map[netip.Prefix]string{}
	for _, p := range peers {
		if p.Node == pg.cfg.Node {
			continue
		}
		viaOverlay, err := pg.judge(p, taken)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("network: node %s: %w", p.Node, err))
		case viaOverlay:
			overlaid = append(overlaid, p)
		default:
			direct = append(direct, p)
		}
	}
	if err := pg.setRoutes(direct, overlaid); err != nil {
		errs = append(errs, fmt.Errorf("network: routes to other nodes: %w", err))
	}
	return errors.Join(errs...)
}

// judge refuses a peer that would take traffic which is not its own, and says how to reach the others.
func (pg *peering) judge(p Peer, taken map[netip.Prefix]string) (viaOverlay bool, err error) {
	switch {
	case !p.PodCIDR.IsValid() || !within(pg.cfg.ClusterCIDR, p.PodCIDR) || p.PodCIDR != p.PodCIDR.Masked():
		return false, fmt.Errorf("its pod subnet %q is not in the cluster's %s", p.PodCIDR, pg.cfg.ClusterCIDR)
	case p.PodCIDR.Overlaps(pg.cfg.PodCIDR):
		return false, fmt.Errorf("its pod subnet %s overlaps this node's", p.PodCIDR)
	case !p.NodeIP.Is4() || p.NodeIP == pg.cfg.NodeIP || pg.cfg.ClusterCIDR.Contains(p.NodeIP) || pg.cfg.ServiceCIDR.Contains(p.NodeIP):
		return false, fmt.Errorf("its address %q cannot be another node's", p.NodeIP)
	}
	if other, ok := taken[p.PodCIDR]; ok {
		return false, fmt.Errorf("its pod subnet %s is node %s's", p.PodCIDR, other)
	}
	taken[p.PodCIDR] = p.Node
	if pg.cfg.Overlay == OverlayAlways {
		return true, nil
	}
	routes, err := pg.node.nl.RouteGet(p.NodeIP.AsSlice())
	if err != nil {
		return false, fmt.Errorf("no route to its address %s: %w", p.NodeIP, err)
	}
	if len(routes) > 0 && (routes[0].Gw == nil || routes[0].Gw.IsUnspecified()) {
		return false, nil
	}
	if pg.cfg.Overlay == OverlayNever {
		return false, fmt.Errorf("its address %s is not on a network of this node, and the overlay is off", p.NodeIP)
	}
	return true, nil
}

func (pg *peering) setRoutes(direct, overlaid []Peer) error {
	var vx netlink.Link
	if len(overlaid) > 0 {
		var err error
		if vx, err = pg.overlay.ensure(); err != nil {
			return err
		}
	}
	wanted := make(map[routeKey]*netlink.Route, len(direct)+len(overlaid))
	for _, p := range direct {
		wanted[routeKey{unix.RT_TABLE_MAIN, p.PodCIDR}] = &netlink.Route{
			Dst: ipnet(p.PodCIDR), Gw: p.NodeIP.AsSlice(), Protocol: routeProtocol, Src: pg.cfg.NodeIP.AsSlice(),
		}
	}
	for _, p := range overlaid {
		wanted[routeKey{unix.RT_TABLE_MAIN, p.PodCIDR}] = &netlink.Route{
			LinkIndex: vx.Attrs().Index, Dst: ipnet(p.PodCIDR), Gw: p.PodCIDR.Addr().AsSlice(),
			// Answers to the overlay's own address come back through it, which a strict reverse-path check wants.
			Flags: int(netlink.FLAG_ONLINK), Protocol: routeProtocol, Src: pg.cfg.PodCIDR.Addr().AsSlice(),
		}
	}
	errs := []error{pg.routes.reconcile(wanted)}
	if vx != nil {
		errs = append(errs, pg.overlay.setNeighbours(vx, overlaid))
	} else if pg.cfg.Overlay != OverlayAlways {
		errs = append(errs, pg.overlay.remove())
	}
	return errors.Join(errs...)
}
