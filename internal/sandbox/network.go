package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	// uplink is the name of every host's end of its cable.
	uplink = "eth0"
	// claimPrefix begins the alias of a sandbox's bridge; the sandbox's folder follows.
	claimPrefix = "holt sandbox "
)

// States of a bridge's port, of the kernel's if_bridge.h. A disabled port drops every packet, ARP too, in both
// directions and in silence: neither end sees its link go down or gets an error, as with a cut beyond a switch. The
// other states do not last on a bridge without STP.
const (
	portDisabled   = 0
	portForwarding = 3
)

const bridgePattern = "holtbr%d"

func bridgeName(index int) string { return fmt.Sprintf(bridgePattern, index) }

// lan is the network between a sandbox's hosts, and from them to the machine.
type lan struct {
	sandbox string
	dir     string // the sandbox's folder, which the bridge's alias claims
	bridge  string
	subnet  netip.Prefix
	gateway netip.Addr // the machine's address in it
}

// claimedElsewhere returns the folder of another sandbox of this name whose bridge is there, or "".
func claimedElsewhere(dir string) (string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return "", fmt.Errorf("listing links: %w", err)
	}
	for _, l := range links {
		claim, ok := strings.CutPrefix(l.Attrs().Alias, claimPrefix)
		if ok && claim != dir && filepath.Base(claim) == filepath.Base(dir) {
			return claim, nil
		}
	}
	return "", nil
}

// makeBridge makes the virtual switch, with the machine's own address in the sandbox's subnet.
func (l lan) makeBridge() error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = l.bridge
	// Without an address of its own a bridge takes the lowest of its ports', and changes it as hosts come and go.
	attrs.HardwareAddr = hardwareAddr(l.gateway)
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("making the bridge %s: %w", l.bridge, err)
	}
	if err := netlink.LinkSetAlias(bridge, claimPrefix+l.dir); err != nil {
		return fmt.Errorf("marking the bridge %s: %w", l.bridge, err)
	}
	if err := netlink.AddrAdd(bridge, ipv4(l.gateway, l.subnet.Bits())); err != nil {
		return fmt.Errorf("giving %s its address: %w", l.bridge, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("setting %s up: %w", l.bridge, err)
	}
	return nil
}

// removeBridge leaves a bridge of this name alone that bears another's claim. No alias at all means that Up was
// killed between two of its calls: the index was this sandbox's.
func (l lan) removeBridge() error {
	link, err := netlink.LinkByName(l.bridge)
	if isNoLink(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the bridge %s: %w", l.bridge, err)
	}
	if alias := link.Attrs().Alias; alias != "" && alias != claimPrefix+l.dir {
		return nil
	}
	if err := netlink.LinkDel(link); err != nil && !isNoLink(err) {
		return fmt.Errorf("removing the bridge %s: %w", l.bridge, err)
	}
	return nil
}

// connect makes what is missing of a host's namespace, its cable to the bridge, address and route.
func (l lan) connect(h hostRecord) error {
	if err := makeNetNS(h.NetNS); err != nil {
		return fmt.Errorf("making the network namespace %s: %w", h.NetNS, err)
	}
	err := inNetNS(h.NetNS, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if err := l.plugIn(h, ns, inside); err != nil {
			return err
		}
		return l.configureUplink(h, inside)
	})
	if err != nil {
		return fmt.Errorf("connecting %s: %w", h.Name, err)
	}
	return nil
}

func (l lan) plugIn(h hostRecord, ns netns.NsHandle, inside *netlink.Handle) error {
	bridge, err := netlink.LinkByName(l.bridge)
	if err != nil {
		return fmt.Errorf("the bridge %s: %w", l.bridge, err)
	}
	if _, err := inside.LinkByName(uplink); isNoLink(err) {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = h.Link
		cable := &netlink.Veth{
			LinkAttrs:     attrs,
			PeerName:      uplink,
			PeerNamespace: netlink.NsFd(ns),
			// Derived from the IP address: who still has it in an ARP cache finds a host that was killed and started.
			PeerHardwareAddr: hardwareAddr(h.Address),
		}
		if err := netlink.LinkAdd(cable); err != nil {
			return fmt.Errorf("making the link %s: %w", h.Link, err)
		}
	} else if err != nil {
		return err
	}
	outside, err := netlink.LinkByName(h.Link)
	if err != nil {
		return fmt.Errorf("the link %s: %w", h.Link, err)
	}
	if err := netlink.LinkSetMaster(outside, bridge); err != nil {
		return fmt.Errorf("plugging %s into %s: %w", h.Link, l.bridge, err)
	}
	return netlink.LinkSetUp(outside)
}

func (l lan) configureUplink(h hostRecord, inside *netlink.Handle) error {
	for _, name := range []string{"lo", uplink} {
		link, err := inside.LinkByName(name)
		if err != nil {
			return err
		}
		if err := inside.LinkSetUp(link); err != nil {
			return fmt.Errorf("setting %s up: %w", name, err)
		}
		if name != uplink {
			continue
		}
		if err := inside.AddrReplace(link, ipv4(h.Address, l.subnet.Bits())); err != nil {
			return fmt.Errorf("setting the address: %w", err)
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: l.gateway.AsSlice()}
		if err := inside.RouteReplace(route); err != nil {
			return fmt.Errorf("setting the default route: %w", err)
		}
	}
	return nil
}

// disconnect removes the host's namespace with all in it. The cable goes first, by name and at once: the kernel
// takes a namespace apart only later, and a new cable of the same name would find the old one in its place.
func (l lan) disconnect(h hostRecord) error {
	err := inNetNS(h.NetNS, func(_ netns.NsHandle, inside *netlink.Handle) error {
		link, err := inside.LinkByName(uplink)
		if isNoLink(err) {
			return nil
		}
		if err != nil {
			return err
		}
		return inside.LinkDel(link)
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("disconnecting %s: %w", h.Name, err)
	}
	return removeNetNS(h.NetNS)
}

// setCut makes the switch drop all of a host's packets, or none. A host whose cable is not there, or not plugged in
// because an Up or Start was killed, is cut as it is.
func setCut(cable string, cut bool) error {
	link, err := netlink.LinkByName(cable)
	if isNoLink(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if link.Attrs().MasterIndex == 0 {
		return nil
	}
	state := byte(portForwarding)
	if cut {
		state = portDisabled
	}
	req := nl.NewNetlinkRequest(unix.RTM_SETLINK, unix.NLM_F_ACK)
	msg := nl.NewIfInfomsg(unix.AF_BRIDGE)
	msg.Index = int32(link.Attrs().Index)
	req.AddData(msg)
	port := nl.NewRtAttr(unix.IFLA_PROTINFO|unix.NLA_F_NESTED, nil)
	port.AddRtAttr(nl.IFLA_BRPORT_STATE, []byte{state})
	req.AddData(port)
	// A link that is down passes nothing as it is.
	if _, err := req.Execute(unix.NETLINK_ROUTE, 0); err != nil && !errors.Is(err, unix.ENETDOWN) {
		return fmt.Errorf("setting the switch's port %s: %w", cable, err)
	}
	return nil
}

// awaitLink returns when a host's cable carries packets. The kernel sees a moment late that both ends are up, and
// enables the switch's port then, also one that was disabled in between.
func awaitLink(ctx context.Context, cable string) error {
	err := poll(ctx, func() (bool, error) {
		link, err := netlink.LinkByName(cable)
		return err == nil && link.Attrs().OperState == netlink.OperUp, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the link %s: %w", cable, err)
	}
	return nil
}

func isNoLink(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.As(err, &notFound) || errors.Is(err, unix.ENODEV)
}

// hardwareAddr is a locally administered unicast address.
func hardwareAddr(a netip.Addr) net.HardwareAddr {
	b := a.As4()
	return net.HardwareAddr{0x02, 0x68, b[0], b[1], b[2], b[3]}
}

func ipv4(a netip.Addr, bits int) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(bits, 32)}}
}
