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

	vxlanOverhead = 50
)

// overlay is the VXLAN device to the nodes that no connected network reaches. It is there while there are such nodes.
type overlay struct {
	node    *node
	use     Overlay
	podCIDR netip.Prefix
}

// overlayMAC follows from a node's address, so that nodes need not tell each other.
func overlayMAC(node netip.Addr) net.HardwareAddr {
	ip := node.As4()
	return net.HardwareAddr{0x02, 0x48, ip[0], ip[1], ip[2], ip[3]}
}

// headers is the room that a pod's link leaves for VXLAN's headers.
func (o *overlay) headers() int {
	if o.use == OverlayAlways {
		return vxlanOverhead
	}
	if _, err := o.node.nl.LinkByName(overlayLink); err == nil {
		return vxlanOverhead
	}
	return 0
}

// ensure makes the VXLAN device, or makes it anew when it was made for another uplink or address.
func (o *overlay) ensure() (netlink.Link, error) {
	up, err := o.node.uplink()
	if err != nil {
		return nil, err
	}
	link, err := o.node.nl.LinkByName(overlayLink)
	if ignore(err) != nil {
		return nil, fmt.Errorf("look for the overlay: %w", err)
	}
	vx, ok := link.(*netlink.Vxlan)
	if !ok || vx.VtepDevIndex != up.Attrs().Index || !vx.SrcAddr.Equal(o.node.ip.AsSlice()) {
		if link, err = o.make(up); err != nil {
			return nil, fmt.Errorf("make the overlay: %w", err)
		}
	}
	own := &netlink.Addr{IPNet: host(o.podCIDR.Addr()), Scope: int(netlink.SCOPE_LINK)}
	if err := o.node.nl.AddrReplace(link, own); err != nil {
		return nil, fmt.Errorf("address of the overlay: %w", err)
	}
	return link, o.node.nl.LinkSetUp(link)
}

func (o *overlay) make(up netlink.Link) (netlink.Link, error) {
	if err := o.remove(); err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = overlayLink, up.Attrs().MTU-vxlanOverhead, overlayMAC(o.node.ip)
	vx := &netlink.Vxlan{
		LinkAttrs: attrs, VxlanId: overlayID, VtepDevIndex: up.Attrs().Index,
		SrcAddr: o.node.ip.AsSlice(), Port: overlayPort,
	}
	if err := o.node.nl.LinkAdd(vx); err != nil {
		return nil, err
	}
	return o.node.nl.LinkByName(overlayLink)
}

func (o *overlay) remove() error {
	link, err := o.node.nl.LinkByName(overlayLink)
	if err == nil {
		err = o.node.nl.LinkDel(link)
	}
	if err := ignore(err, unix.ENODEV); err != nil {
		return fmt.Errorf("remove the overlay: %w", err)
	}
	return nil
}

// setNeighbours tells the overlay where each peer is: its overlay address has a MAC, and the MAC a node.
func (o *overlay) setNeighbours(vx netlink.Link, peers []Peer) error {
	index := vx.Attrs().Index
	var errs []error
	macs, addrs := map[string]bool{}, map[string]bool{}
	for _, p := range peers {
		mac := overlayMAC(p.NodeIP)
		macs[mac.String()], addrs[p.PodCIDR.Addr().String()] = true, true
		errs = append(errs,
			o.node.nl.NeighSet(&netlink.Neigh{
				LinkIndex: index, Family: unix.AF_INET, State: netlink.NUD_PERMANENT,
				IP: p.PodCIDR.Addr().AsSlice(), HardwareAddr: mac,
			}),
			o.node.nl.NeighSet(&netlink.Neigh{
				LinkIndex: index, Family: unix.AF_BRIDGE, State: netlink.NUD_PERMANENT, Flags: netlink.NTF_SELF,
				IP: p.NodeIP.AsSlice(), HardwareAddr: mac,
			}))
	}
	for _, family := range []int{unix.AF_INET, unix.AF_BRIDGE} {
		have, err := settled(func() ([]netlink.Neigh, error) { return o.node.nl.NeighList(index, family) })
		if err != nil {
			errs = append(errs, fmt.Errorf("list neighbours: %w", err))
			continue
		}
		for _, h := range have {
			if h.State&netlink.NUD_PERMANENT == 0 || macs[h.HardwareAddr.String()] && (family == unix.AF_BRIDGE || addrs[h.IP.String()]) {
				continue
			}
			errs = append(errs, ignore(o.node.nl.NeighDel(&h), unix.ENOENT))
		}
	}
	return errors.Join(errs...)
}
