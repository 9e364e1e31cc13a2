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

	vxlanOverhead = 50
)

// gateway is every pod's next hop: the node's end of its own link answers for it.
var gateway = netip.AddrFrom4([4]byte{169, 254, 1, 1})

// linkName is the node's end of a pod's link.
func linkName(uid string) string {
	sum := sha256.Sum256([]byte(uid))
	return linkPrefix + hex.EncodeToString(sum[:])[:linkDigits]
}

// Attach gives the pod in the namespace at netnsPath its link, address and routes, and returns the address.
// Repeated, it repairs what is missing and returns the same address, also after a restart of the agent. After
// an error the address stays taken until Detach. ErrNoAddress says that the subnet is full.
func (n *Network) Attach(ctx context.Context, uid, netnsPath string) (netip.Addr, error) {
	if uid == "" {
		return netip.Addr{}, errors.New("network: attach: the pod has no UID")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return netip.Addr{}, err
	}
	pod, err := netns.GetFromPath(netnsPath)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("network: open the pod's namespace %s: %w", netnsPath, err)
	}
	defer pod.Close()
	if pod.Equal(n.ns) {
		return netip.Addr{}, fmt.Errorf("network: %s is the node's own namespace: a pod in the host's network has no link", netnsPath)
	}
	addr, err := n.leases.take(uid)
	if err != nil {
		return netip.Addr{}, err
	}
	if err := n.attach(ctx, linkName(uid), pod, addr); err != nil {
		return netip.Addr{}, fmt.Errorf("network: attach pod %s: %w", uid, err)
	}
	return addr, nil
}

func (n *Network) attach(ctx context.Context, name string, ns netns.NsHandle, addr netip.Addr) error {
	pod, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink in the pod: %w", err)
	}
	defer pod.Close()
	link, err := n.ensureLink(name, ns, pod)
	if err != nil {
		return err
	}
	if err := configurePod(pod, addr); err != nil {
		return fmt.Errorf("configure the pod's end: %w", err)
	}
	if err := n.configureNode(link, addr); err != nil {
		return fmt.Errorf("configure the node's end: %w", err)
	}
	for end, h := range map[string]*netlink.Handle{name: n.nl, podLink: pod} {
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

// ensureLink returns the node's end of the pair whose other end is the pod's eth0.
func (n *Network) ensureLink(name string, ns netns.NsHandle, pod *netlink.Handle) (netlink.Link, error) {
	old, err := n.nl.LinkByName(name)
	if err == nil {
		if paired(old, pod) {
			return old, nil
		}
		// The pod's sandbox was made anew; the old pair leads to one that ends.
		err = n.nl.LinkDel(old)
	}
	if err := ignore(err); err != nil {
		return nil, fmt.Errorf("look for %s: %w", name, err)
	}
	mtu, err := n.podMTU()
	if err != nil {
		return nil, err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, mtu
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: podLink, PeerNamespace: netlink.NsFd(ns), PeerMTU: uint32(mtu)}
	if err := n.nl.LinkAdd(veth); err != nil {
		return nil, fmt.Errorf("make the pair %s and %s: %w", name, podLink, err)
	}
	return n.nl.LinkByName(name)
}

// paired reports whether a link's other end is the pod's eth0. Each end shows the other's index.
func paired(node netlink.Link, pod *netlink.Handle) bool {
	end, err := pod.LinkByName(podLink)
	return err == nil && end.Type() == "veth" &&
		end.Attrs().Index == node.Attrs().ParentIndex && end.Attrs().ParentIndex == node.Attrs().Index
}

// podMTU is what fits into the uplink, with room for VXLAN's headers where there may be any.
func (n *Network) podMTU() (int, error) {
	const ethernet = 1500
	up, err := n.uplink()
	if err != nil {
		return 0, err
	}
	mtu := up.Attrs().MTU
	if up.Attrs().Name == "lo" {
		mtu = ethernet
	}
	if n.cfg.Overlay == OverlayAlways {
		return mtu - vxlanOverhead, nil
	}
	if _, err := n.nl.LinkByName(overlayLink); err == nil {
		return mtu - vxlanOverhead, nil
	}
	return mtu, nil
}

func (n *Network) configureNode(link netlink.Link, addr netip.Addr) error {
	own := &netlink.Addr{IPNet: host(gateway), Scope: int(netlink.SCOPE_LINK), Flags: unix.IFA_F_NOPREFIXROUTE}
	if err := n.nl.AddrReplace(link, own); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if err := n.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("raise: %w", err)
	}
	route := &netlink.Route{
		LinkIndex: link.Attrs().Index, Dst: host(addr), Src: n.cfg.NodeIP.AsSlice(),
		Scope: netlink.SCOPE_LINK, Protocol: routeProtocol,
	}
	if err := n.nl.RouteReplace(route); err != nil {
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

// Detach removes the pod's link and gives its address back. A pod that has none is none to worry about.
func (n *Network) Detach(ctx context.Context, uid string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	link, err := n.nl.LinkByName(linkName(uid))
	if err == nil {
		err = n.nl.LinkDel(link)
	}
	if err := ignore(err, unix.ENODEV); err != nil {
		return fmt.Errorf("network: detach pod %s: %w", uid, err)
	}
	return n.leases.release(func(have string) bool { return have == uid })
}

// Sweep removes links and addresses of all pods but those whose UIDs are in keep: what a crash left behind.
func (n *Network) Sweep(keep []string) error {
	uids := make(map[string]bool, len(keep))
	names := make(map[string]bool, len(keep))
	for _, uid := range keep {
		uids[uid], names[linkName(uid)] = true, true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.removePodLinks(names); err != nil {
		return fmt.Errorf("network: sweep: %w", err)
	}
	return n.leases.release(func(uid string) bool { return !uids[uid] })
}

// removePodLinks removes all pod links but those named in keep. Their routes go with them.
func (n *Network) removePodLinks(keep map[string]bool) error {
	links, err := settled(n.nl.LinkList)
	if err != nil {
		return fmt.Errorf("list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		name := l.Attrs().Name
		if l.Type() != "veth" || !isPodLink(name) || keep[name] {
			continue
		}
		if err := ignore(n.nl.LinkDel(l), unix.ENODEV); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func isPodLink(name string) bool {
	digits, ok := strings.CutPrefix(name, linkPrefix)
	return ok && len(digits) == linkDigits && strings.Trim(digits, "0123456789abcdef") == ""
}
