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
	netnsFolder = "/run/netns"
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
func (r *record) makeBridge(dir string) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = r.Bridge
	// Without an address of its own a bridge takes the lowest of its ports', and changes it as hosts come and go.
	attrs.HardwareAddr = hardwareAddr(r.Gateway)
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(bridge); err != nil {
		return fmt.Errorf("making the bridge %s: %w", r.Bridge, err)
	}
	if err := netlink.LinkSetAlias(bridge, claimPrefix+dir); err != nil {
		return fmt.Errorf("marking the bridge %s: %w", r.Bridge, err)
	}
	if err := netlink.AddrAdd(bridge, ipv4(r.Gateway, r.Subnet.Bits())); err != nil {
		return fmt.Errorf("giving %s its address: %w", r.Bridge, err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		return fmt.Errorf("setting %s up: %w", r.Bridge, err)
	}
	return nil
}

// removeBridge leaves a bridge of this name alone that bears another's claim. No alias at all means that Up was
// killed between two of its calls: the index was this sandbox's.
func (r *record) removeBridge(dir string) error {
	link, err := netlink.LinkByName(r.Bridge)
	if isNoLink(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("finding the bridge %s: %w", r.Bridge, err)
	}
	if alias := link.Attrs().Alias; alias != "" && alias != claimPrefix+dir {
		return nil
	}
	if err := netlink.LinkDel(link); err != nil && !isNoLink(err) {
		return fmt.Errorf("removing the bridge %s: %w", r.Bridge, err)
	}
	return nil
}

// connect makes what is missing of a host's namespace, its cable to the bridge, address and route.
func (r *record) connect(h hostRecord) error {
	if err := makeNetNS(h.NetNS); err != nil {
		return fmt.Errorf("making the network namespace %s: %w", h.NetNS, err)
	}
	err := inNetNS(h.NetNS, func(ns netns.NsHandle, inside *netlink.Handle) error {
		if err := r.plugIn(h, ns, inside); err != nil {
			return err
		}
		return r.configureUplink(h, inside)
	})
	if err != nil {
		return fmt.Errorf("connecting %s: %w", h.Name, err)
	}
	return nil
}

func (r *record) plugIn(h hostRecord, ns netns.NsHandle, inside *netlink.Handle) error {
	bridge, err := netlink.LinkByName(r.Bridge)
	if err != nil {
		return fmt.Errorf("the bridge %s: %w", r.Bridge, err)
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
		return fmt.Errorf("plugging %s into %s: %w", h.Link, r.Bridge, err)
	}
	return netlink.LinkSetUp(outside)
}

func (r *record) configureUplink(h hostRecord, inside *netlink.Handle) error {
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
		if err := inside.AddrReplace(link, ipv4(h.Address, r.Subnet.Bits())); err != nil {
			return fmt.Errorf("setting the address: %w", err)
		}
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: r.Gateway.AsSlice()}
		if err := inside.RouteReplace(route); err != nil {
			return fmt.Errorf("setting the default route: %w", err)
		}
	}
	return nil
}

// disconnect removes the host's namespace with all in it. The cable goes first, by name and at once: the kernel
// takes a namespace apart only later, and a new cable of the same name would find the old one in its place.
func (r *record) disconnect(h hostRecord) error {
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
func setCut(h hostRecord, cut bool) error {
	link, err := netlink.LinkByName(h.Link)
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
		return fmt.Errorf("setting the switch's port %s: %w", h.Link, err)
	}
	return nil
}

// awaitLink returns when a host's cable carries packets. The kernel sees a moment late that both ends are up, and
// enables the switch's port then, also one that was disabled in between.
func awaitLink(ctx context.Context, h hostRecord) error {
	err := poll(ctx, func() (bool, error) {
		link, err := netlink.LinkByName(h.Link)
		return err == nil && link.Attrs().OperState == netlink.OperUp, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the link %s: %w", h.Link, err)
	}
	return nil
}

// inNetNS calls f with a namespace's handle and a netlink handle inside it; f runs outside. The error wraps
// os.ErrNotExist if there is no such namespace.
func inNetNS(name string, f func(netns.NsHandle, *netlink.Handle) error) error {
	if !isNetNS(filepath.Join(netnsFolder, name)) {
		return fmt.Errorf("network namespace %s: %w", name, os.ErrNotExist)
	}
	ns, err := netns.GetFromName(name)
	if err != nil {
		return err
	}
	defer func() { _ = ns.Close() }()
	inside, err := netlink.NewHandleAt(ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	return f(ns, inside)
}

// makeNetNS names a new, empty namespace in the way that ip-netns(8) documents; one that is there stays.
func makeNetNS(name string) error {
	file := filepath.Join(netnsFolder, name)
	if isNetNS(file) {
		return nil
	}
	if err := os.MkdirAll(netnsFolder, 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return onDisposableThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", file, "", unix.MS_BIND, "")
	})
}

func removeNetNS(name string) error {
	file := filepath.Join(netnsFolder, name)
	for isNetNS(file) {
		if err := unix.Unmount(file, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting the network namespace %s: %w", name, err)
		}
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// isNetNS tells a mounted namespace from the plain file that it is mounted on.
func isNetNS(file string) bool {
	var st unix.Statfs_t
	return unix.Statfs(file, &st) == nil && st.Type == unix.NSFS_MAGIC
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
