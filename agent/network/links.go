package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	podLink    = "eth0"
	linkPrefix = "holt"
	// A link's name has at most 15 characters.
	linkDigits = unix.IFNAMSIZ - 1 - len(linkPrefix)
)

// gateway is every pod's next hop: the node's end of its own link answers for it.
var gateway = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// linkName is the node's end of a pod's link.
func linkName(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return linkPrefix + hex.EncodeToString(sum[:])[:linkDigits]
}

// links are the veth pairs between the node and its pods.
type links struct {
	node    *node
	overlay *overlay
}

func (l *links) attach(ctx context.Context, name string, ns netns.NsHandle, addr netip.Addr) error {
	pod, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in the pod: %w", err)
	}
	defer pod.Close()
	link, err := l.ensure(name, ns, pod)
	if err != nil {
		return err
	}
	if err := configurePod(pod, addr); err != nil {
		return fmt.Errorf("configure the pod's end: %w", err)
	}
	if err := l.configureNode(link, addr); err != nil {
		return fmt.Errorf("configure the node's end: %w", err)
	}
	for end, h := range map[string]*netlink.Handle{name: l.node.nl, podLink: pod} {
		if err := awaitCarrier(ctx, h, end); err != nil {
			return err
		}
	}
	return nil
}

// awaitCarrier waits until a raised link sends. Both ends of a pair are up at once, but the kernel lets the one
// raised first send a moment later, and drops what it is given before: the pod's first answer would be lost and
// its peer would wait a second to ask again. In newer kernels the question itself brings the link there.
func awaitCarrier(ctx context.Context, h *netlink.Handle, name string) error {
	const limit, pause = 5 * time.Second, time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s does not come up: %w", name, ctx.Err())
		case <-time.After(pause):
		}
	}
}

// ensure returns the node's end of the pair whose other end is the pod's eth0.
func (l *links) ensure(name string, ns netns.NsHandle, pod *netlink.Handle) (netlink.Link, error) {
	old, err := l.node.nl.LinkByName(name)
	if err == nil {
		if paired(old, pod) {
			return old, nil
		}
		// The pod's sandbox was made anew; the old pair leads to one that ends.
		err = l.node.nl.LinkDel(old)
	}
	if err := ignore(err); err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	mtu, err := l.mtu()
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: podLink, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(mtu)}
	if err := l.node.nl.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make the pair %s and %s: %w", name, podLink, err)
	}
	return l.node.nl.LinkByName(name)
}

// paired reports whether a link's other end is the pod's eth0. Each end shows the other's index.
func paired(node netlink.Link, pod *netlink.Handle) bool {
	end, err := pod.LinkByName(podLink)
	return err == nil && end.Type() == "veth" &&
		end.Attrs().Index == node.Attrs().ParentIndex && end.Attrs().ParentIndex == node.Attrs().Index
}

// mtu is what fits into the uplink, with room for VXLAN's headers where there may be any.
func (l *links) mtu() (int, error) {
	const ethernet = 1500
	up, err := l.node.uplink()
	if err != nil {
		return 0, err
	}
	if up.Attrs().Name == "lo" {
		return ethernet - l.overlay.headers(), nil
	}
	return up.Attrs().MTU - l.overlay.headers(), nil
}

func (l *links) configureNode(link netlink.Link, addr netip.Addr) error {
	own := &netlink.Addr{IPNet: host(gateway), Scope: int(netlink.SCOPE_LINK), Flags: unix.IFA_F_NOPREFIXROUTE}
	if err := l.node.nl.AddrReplace(link, own); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if err := l.node.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: host(addr), Src: l.node.ip.AsSlice(),
		Scope: netlink.SCOPE_LINK, Protocol: routeProtocol,
	}
	if err := l.node.nl.RouteReplace(route); err != nil {
		return fmt.Errorf("route: %w", err)
	}
	return nil
}

func configurePod(pod *netlink.Handle, addr netip.Addr) error {
	lo, err := pod.LinkByName("lo")
	if err == nil {
		err = pod.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("loopback: %w", err)
	}
	link, err := pod.LinkByName(podLink)
	if err != nil {
		return fmt.Errorf("find %s: %w", podLink, err)
	}
	if err := pod.AddrReplace(link, &netlink.Addr{IPNet: host(addr)}); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if err := pod.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise: %w", err)
	}
	all := ipnet(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: all, Gw: gateway.AsSlice(), Flags: int(netlink.FLAG_ONLINK),
	}
	if err := pod.RouteReplace(route); err != nil {
		return fmt.Errorf("route: %w", err)
	}
	return nil
}

// remove removes a pod's link, if there is one.
func (l *links) remove(name string) error {
	link, err := l.node.nl.LinkByName(name)
	if err == nil {
		err = l.node.nl.LinkDel(link)
	}
	return ignore(err, unix.ENODEV)
}

// removeAllBut removes all pod links but those named in keep. Their routes go with them.
func (l *links) removeAllBut(keep map[string]bool) error {
	all, err := settled(l.node.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, link := range all {
		name := link.Attrs().Name
		if link.Type() != "veth" || !isPodLink(name) || keep[name] {
			continue
		}
		if err := ignore(l.node.nl.LinkDel(link), unix.ENODEV); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func isPodLink(name string) bool {
	digits, ok := strings.CutPrefix(name, linkPrefix)
	return ok && len(digits) == linkDigits && strings.Trim(digits, "0123456789abcdef") == ""
}
