package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	overlayLink = "vx-holt"
	overlayID   = 72
	overlayPort = 4789 // RFC 7348
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
	var errs []error
	var direct, overlaid []Peer
	taken := map[netip.Prefix]string{}
	for _, p := range peers {
		if p.Node == n.cfg.Node {
			continue
		}
		viaOverlay, err := n.judge(p, taken)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("network: node %s: %w", p.Node, err))
		case viaOverlay:
			overlaid = append(overlaid, p)
		default:
			direct = append(direct, p)
		}
	}
	if err := n.setRoutes(direct, overlaid); err != nil {
		errs = append(errs, fmt.Errorf("network: routes to other nodes: %w", err))
	}
	return errors.Join(errs...)
}

// judge refuses a peer that would take traffic which is not its own, and says how to reach the others.
func (n *Network) judge(p Peer, taken map[netip.Prefix]string) (viaOverlay bool, err error) {
	switch {
	case !p.PodCIDR.IsValid() || !within(n.cfg.ClusterCIDR, p.PodCIDR) || p.PodCIDR != p.PodCIDR.Masked():
		return false, fmt.Errorf("its pod subnet %q is not in the cluster's %s", p.PodCIDR, n.cfg.ClusterCIDR)
	case p.PodCIDR.Overlaps(n.cfg.PodCIDR):
		return false, fmt.Errorf("its pod subnet %s overlaps this node's", p.PodCIDR)
	case !p.NodeIP.Is4() || p.NodeIP == n.cfg.NodeIP || n.cfg.ClusterCIDR.Contains(p.NodeIP) || n.cfg.ServiceCIDR.Contains(p.NodeIP):
		return false, fmt.Errorf("its address %q cannot be another node's", p.NodeIP)
	}
	if other, ok := taken[p.PodCIDR]; ok {
		return false, fmt.Errorf("its pod subnet %s is node %s's", p.PodCIDR, other)
	}
	taken[p.PodCIDR] = p.Node
	if n.cfg.Overlay == OverlayAlways {
		return true, nil
	}
	routes, err := n.nl.RouteGet(p.NodeIP.AsSlice())
	if err != nil {
		return false, fmt.Errorf("no route to its address %s: %w", p.NodeIP, err)
	}
	if len(routes) > 0 && (routes[0].Gw == nil || routes[0].Gw.IsUnspecified()) {
		return false, nil
	}
	if n.cfg.Overlay == OverlayNever {
		return false, fmt.Errorf("its address %s is not on a network of this node, and the overlay is off", p.NodeIP)
	}
	return true, nil
}

func (n *Network) setRoutes(direct, overlaid []Peer) error {
	var vx netlink.Link
	if len(overlaid) > 0 {
		var err error
		if vx, err = n.ensureOverlay(); err != nil {
			return err
		}
	}
	wanted := make(map[routeKey]*netlink.Route, len(direct)+len(overlaid))
	for _, p := range direct {
		wanted[routeKey{unix.RT_TABLE_MAIN, p.PodCIDR}] = &netlink.Route{
			Dst: ipnet(p.PodCIDR), Gw: p.NodeIP.AsSlice(), Protocol: routeProtocol, Src: n.cfg.NodeIP.AsSlice(),
		}
	}
	for _, p := range overlaid {
		wanted[routeKey{unix.RT_TABLE_MAIN, p.PodCIDR}] = &netlink.Route{
			LinkIndex: vx.Attrs().Index, Dst: ipnet(p.PodCIDR), Gw: p.PodCIDR.Addr().AsSlice(),
			// Answers to the overlay's own address come back through it, which a strict reverse-path check wants.
			Flags: int(netlink.FLAG_ONLINK), Protocol: routeProtocol, Src: n.cfg.PodCIDR.Addr().AsSlice(),
		}
	}
	errs := []error{n.reconcileRoutes(wanted)}
	if vx != nil {
		errs = append(errs, n.reconcileNeighbours(vx, overlaid))
	} else if n.cfg.Overlay != OverlayAlways {
		errs = append(errs, n.removeOverlay())
	}
	return errors.Join(errs...)
}

// reconcileRoutes changes our routes to other nodes, which are those with a gateway, into wanted.
func (n *Network) reconcileRoutes(wanted map[routeKey]*netlink.Route) error {
	have, err := n.ourRoutes()
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range have {
		if r.Gw == nil {
			continue
		}
		w, ok := wanted[keyOf(r)]
		switch {
		case !ok:
			if err := ignore(n.nl.RouteDel(&r), unix.ESRCH); err != nil {
				errs = append(errs, fmt.Errorf("remove %s: %w", r.Dst, err))
			}
		case r.Gw.Equal(w.Gw) && (w.LinkIndex == 0 || w.LinkIndex == r.LinkIndex):
			delete(wanted, keyOf(r))
		}
	}
	for key, w := range wanted {
		if err := n.nl.RouteReplace(w); err != nil {
			errs = append(errs, fmt.Errorf("%s over %s: %w", key.dst, w.Gw, err))
		}
	}
	return errors.Join(errs...)
}

// overlayMAC follows from a node's address, so that nodes need not tell each other.
func overlayMAC(node netip.Addr) net.HardwareAddr {
	ip := node.As4()
	return net.HardwareAddr{0x02, 0x48, ip[0], ip[1], ip[2], ip[3]}
}

// ensureOverlay makes the VXLAN device, or makes it anew when it was made for another uplink or address.
func (n *Network) ensureOverlay() (netlink.Link, error) {
	up, err := n.uplink()
	if err != nil {
		return nil, err
	}
	link, err := n.nl.LinkByName(overlayLink)
	if ignore(err) != nil {
		return nil, fmt.Errorf("look for the overlay: %w", err)
	}
	vx, ok := link.(*netlink.Vxlan)
	if !ok || vx.VtepDevIndex != up.Attrs().Index || !vx.SrcAddr.Equal(n.cfg.NodeIP.AsSlice()) {
		if link, err = n.makeOverlay(up); err != nil {
			return nil, fmt.Errorf("make the overlay: %w", err)
		}
	}
	own := &netlink.Addr{IPNet: host(n.cfg.PodCIDR.Addr()), Scope: int(netlink.SCOPE_LINK)}
	if err := n.nl.AddrReplace(link, own); err != nil {
		return nil, fmt.Errorf("address of the overlay: %w", err)
	}
	return link, n.nl.LinkSetUp(link)
}

func (n *Network) makeOverlay(up netlink.Link) (netlink.Link, error) {
	if err := n.removeOverlay(); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = overlayLink, up.Attrs().MTU-vxlanOverhead, overlayMAC(n.cfg.NodeIP)
	vx := &netlink.Vxlan{
		LinkAttrs: attrs, VxlanId: overlayID, VtepDevIndex: up.Attrs().Index,
		SrcAddr: n.cfg.NodeIP.AsSlice(), Port: overlayPort,
	}
	if err := n.nl.LinkAdd(vx); err != nil {
		return nil, err
	}
	return n.nl.LinkByName(overlayLink)
}

func (n *Network) removeOverlay() error {
	link, err := n.nl.LinkByName(overlayLink)
	if err == nil {
		err = n.nl.LinkDel(link)
	}
	if err := ignore(err, unix.ENODEV); err != nil {
		return fmt.Errorf("remove the overlay: %w", err)
	}
	return nil
}

// reconcileNeighbours tells the overlay where each peer is: its overlay address has a MAC, and the MAC a node.
func (n *Network) reconcileNeighbours(vx netlink.Link, peers []Peer) error {
	index := vx.Attrs().Index
	var errs []error
	macs, addrs := map[string]bool{}, map[string]bool{}
	for _, p := range peers {
		mac := overlayMAC(p.NodeIP)
		macs[mac.String()], addrs[p.PodCIDR.Addr().String()] = true, true
		errs = append(errs,
			n.nl.NeighSet(&netlink.Neigh{
				LinkIndex: index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
				IP: p.PodCIDR.Addr().AsSlice(), HardwareAddr: mac,
			}),
			n.nl.NeighSet(&netlink.Neigh{
				LinkIndex: index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
				IP: p.NodeIP.AsSlice(), HardwareAddr: mac,
			}))
	}
	for _, family := range []int{unix.AF_INET, unix.AF_BRIDGE} {
		have, err := settled(func() ([]netlink.Neigh, error) { return n.nl.NeighList(index, family) })
		if err != nil {
			errs = append(errs, fmt.Errorf("list neighbours: %w", err))
			continue
		}
		for _, h := range have {
			if h.State&netlink.NUD_PERMANENT == 0 || macs[h.HardwareAddr.String()] && (family == unix.AF_BRIDGE || addrs[h.IP.String()]) {
				continue
			}
			errs = append(errs, ignore(n.nl.NeighDel(&h), unix.ENOENT))
		}
	}
	return errors.Join(errs...)
}
