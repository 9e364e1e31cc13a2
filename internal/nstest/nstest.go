package nstest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// NS is one network namespace. It is gone when its test ends and the last socket in it is closed.
type NS struct {
	fd netns.NsHandle
	nl *netlink.Handle
}

// New makes a namespace whose loopback is up.
func New(t testing.TB) *NS {
	t.Helper()
	fd, err := create()
	if err != nil {
		t.Fatalf("make a network namespace: %v", err)
	}
	nl, err := netlink.NewHandleAt(fd, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatalf("open netlink in the namespace: %v", err)
	}
	n := &NS{fd: fd, nl: nl}
	t.Cleanup(func() {
		nl.Close()
		_ = fd.Close()
	})
	lo, err := nl.LinkByName("lo")
	if err == nil {
		err = nl.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatalf("raise the loopback: %v", err)
	}
	return n
}

func create() (netns.NsHandle, error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return netns.None(), err
	}
	defer home.Close()
	fd, err := netns.New()
	if back := netns.Set(home); back != nil {
		// The thread stays locked, so that the runtime ends it with this goroutine.
		return fd, fmt.Errorf("return to the first namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return fd, err
}

// Path names the namespace for code in this process that wants a file.
func (n *NS) Path() string { return fmt.Sprintf("/proc/self/fd/%d", int(n.fd)) }

// Links is netlink inside the namespace.
func (n *NS) Links() *netlink.Handle { return n.nl }

// Do runs f on a thread inside the namespace and returns its error. Sockets opened by f itself stay in
// the namespace; goroutines started by f do not run in it.
func (n *NS) Do(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return err
	}
	defer home.Close()
	if err := netns.Set(n.fd); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err = f()
	if back := netns.Set(home); back != nil {
		return fmt.Errorf("return to the first namespace: %w", back)
	}
	runtime.UnlockOSThread()
	return err
}

// Listen opens a TCP listener inside the namespace; it is closed when the test ends.
func (n *NS) Listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	if err != nil {
		t.Fatalf("listen on %s in the namespace: %v", addr, err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ListenPacket opens a UDP socket inside the namespace; it is closed when the test ends.
func (n *NS) ListenPacket(t testing.TB, addr string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := n.Do(func() (err error) {
		c, err = net.ListenPacket("udp4", addr)
		return err
	})
	if err != nil {
		t.Fatalf("listen on %s/udp in the namespace: %v", addr, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Dial connects from inside the namespace; network is "tcp4" or "udp4".
func (n *NS) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() (err error) {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Join links a to b by a cable whose ends carry these addresses, for example 192.0.2.1/24.
func Join(t testing.TB, a *NS, aName string, aAddr netip.Prefix, b *NS, bName string, bAddr netip.Prefix) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = aName
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: bName, PeerNamespace: netlink.NsFd(b.fd)}
	if err := a.nl.LinkAdd(cable); err != nil {
		t.Fatalf("lay a cable: %v", err)
	}
	a.Address(t, aName, aAddr)
	b.Address(t, bName, bAddr)
}

// Address gives a link of the namespace an address and raises it.
func (n *NS) Address(t testing.TB, link string, addr netip.Prefix) {
	t.Helper()
	l, err := n.nl.LinkByName(link)
	if err != nil {
		t.Fatalf("find %s: %v", link, err)
	}
	ip := &net.IPNet{IP: addr.Addr().AsSlice(), Mask: net.CIDRMask(addr.Bits(), addr.Addr().BitLen())}
	if err := n.nl.AddrAdd(l, &netlink.Addr{IPNet: ip}); err != nil {
		t.Fatalf("give %s the address %s: %v", link, addr, err)
	}
	if err := n.nl.LinkSetUp(l); err != nil {
		t.Fatalf("raise %s: %v", link, err)
	}
}

// DefaultVia routes all else of the namespace over a gateway.
func (n *NS) DefaultVia(t testing.TB, gateway netip.Addr) {
	t.Helper()
	all := &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}
	if err := n.nl.RouteAdd(&netlink.Route{Dst: all, Gw: gateway.AsSlice()}); err != nil {
		t.Fatalf("route by default over %s: %v", gateway, err)
	}
}
