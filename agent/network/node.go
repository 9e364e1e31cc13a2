package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// node is the node's network namespace, and the descriptors to change it by.
type node struct {
	ip netip.Addr      // the node's address
	ns netns.NsHandle  // owned
	nl *netlink.Handle // bound to ns; owned
}

// openNode opens the namespace of the calling thread, to which the caller is locked.
func openNode(ip netip.Addr) (*node, error) {
	ns, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("network: open the namespace: %w", err)
	}
	nl, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		_ = ns.Close()
		return nil, fmt.Errorf("network: open netlink: %w", err)
	}
	return &node{ip: ip, ns: ns, nl: nl}, nil
}

func (n *node) close() {
	n.nl.Close()
	_ = n.ns.Close()
}

// prepare turns on forwarding and raises the loopback, whose index it returns. It runs on a thread that is in n.ns.
func (n *node) prepare() (lo int, err error) {
	if _, err := n.uplink(); err != nil {
		return 0, err
	}
	// /proc/sys/net shows the namespace of the thread that opens it.
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644); err != nil {
		return 0, fmt.Errorf("turn on forwarding: %w", err)
	}
	link, err := n.nl.LinkByName("lo")
	if err != nil {
		return 0, fmt.Errorf("find the loopback: %w", err)
	}
	if err := n.nl.LinkSetUp(link); err != nil {
		return 0, fmt.Errorf("raise the loopback: %w", err)
	}
	return link.Attrs().Index, nil
}

// uplink is the link that carries the node's address.
func (n *node) uplink() (netlink.Link, error) {
	addrs, err := settled(func() ([]netlink.Addr, error) { return n.nl.AddrList(nil, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	for _, a := range addrs {
		if ip, ok := netip.AddrFromSlice(a.IP.To4()); ok && ip == n.ip {
			return n.nl.LinkByIndex(a.LinkIndex)
		}
	}
	return nil, fmt.Errorf("no link of this machine has the node's address %s: set the node's address to one that it has", n.ip)
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
