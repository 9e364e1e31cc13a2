package sandbox_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/sandbox"
)

// inHost runs f, which must not start goroutines that open sockets, on a thread in the host's network namespace.
func inHost(t *testing.T, h sandbox.Host, f func()) {
	t.Helper()
	ns, err := netns.GetFromName(h.NetNS)
	must(t, err)
	defer func() { _ = ns.Close() }()
	inNamespace(t, ns, f)
}

func inNamespace(t *testing.T, ns netns.NsHandle, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		own, err := netns.Get()
		if err != nil {
			done <- err
			return
		}
		defer func() { _ = own.Close() }()
		if err := netns.Set(ns); err != nil {
			done <- err
			return
		}
		f()
		err = netns.Set(own)
		runtime.UnlockOSThread()
		done <- err
	}()
	must(t, <-done)
}

// newOutside makes a network beyond the machine, 192.0.2.2 behind the machine's 192.0.2.1, and listens there.
func newOutside(t *testing.T) net.Listener {
	t.Helper()
	var ns netns.NsHandle
	var listener net.Listener
	own, err := netns.Get()
	must(t, err)
	t.Cleanup(func() { _ = own.Close() })
	inNamespace(t, own, func() {
		if ns, err = netns.New(); err == nil {
			err = netns.Set(own)
		}
	})
	must(t, err)
	t.Cleanup(func() { _ = ns.Close() })
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "wan0"}, PeerName: "wan1", PeerNamespace: netlink.NsFd(ns)}
	must(t, netlink.LinkAdd(link))
	t.Cleanup(func() { must(t, netlink.LinkDel(link)) })
	inside, err := netlink.NewHandleAt(ns)
	must(t, err)
	defer inside.Close()
	peer, err := inside.LinkByName("wan1")
	must(t, err)
	for _, end := range []struct {
		handle *netlink.Handle
		link   netlink.Link
		addr   string
	}{{&netlink.Handle{}, link, "192.0.2.1/24"}, {inside, peer, "192.0.2.2/24"}} {
		addr, err := netlink.ParseAddr(end.addr)
		must(t, err)
		must(t, end.handle.AddrAdd(end.link, addr))
		must(t, end.handle.LinkSetUp(end.link))
	}
	inNamespace(t, ns, func() { listener, err = net.Listen("tcp4", "192.0.2.2:0") })
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

// dialEcho opens a connection from the machine to the server's echo and sees it work.
func dialEcho(t *testing.T, h sandbox.Host) net.Conn {
	t.Helper()
	var c net.Conn
	waitFor(t, h.Name+" accepts connections", func() bool {
		var err error
		c, err = net.DialTimeout("tcp", net.JoinHostPort(h.Address, echoPort), time.Second)
		return err == nil
	})
	t.Cleanup(func() { _ = c.Close() })
	if err := echo(c, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	return c
}

func echo(c net.Conn, patience time.Duration) error {
	if _, err := c.Write([]byte{1}); err != nil {
		return err
	}
	return readByte(c, patience)
}

func readByte(c net.Conn, patience time.Duration) error {
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.Read(make([]byte, 1))
	return err
}

// hangs tells that a connection neither answers nor ends: no byte, no FIN, no RST.
func hangs(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

func TestCutDropsPacketsInSilence(t *testing.T) {
	o := options()
	o.Servers = 2
	s := up(t, o)
	one, two := host(t, s, "server-1"), host(t, s, "server-2")
	c := dialEcho(t, one)
	must(t, s.Cut(t.Context(), "server-1"))
	must(t, s.Cut(t.Context(), "server-1"))
	if err := echo(c, 500*time.Millisecond); !hangs(err) {
		t.Errorf("a connection into a cut host: %v, want it to hang", err)
	}
	if got := host(t, s, "server-1"); got.State != sandbox.StateCut || got.Leader || got.PID == 0 {
		t.Errorf("a cut host is %+v", got)
	}
	var out, datagram error
	inHost(t, one, func() {
		var d net.Conn
		if d, datagram = net.Dial("udp4", net.JoinHostPort(two.Address, echoPort)); datagram == nil {
			_, datagram = d.Write([]byte{1})
			_ = d.Close()
		}
		_, out = net.DialTimeout("tcp4", net.JoinHostPort(two.Address, echoPort), 500*time.Millisecond)
	})
	var timeout net.Error
	if !errors.As(out, &timeout) || !timeout.Timeout() {
		t.Errorf("a connection out of a cut host: %v, want it to hang", out)
	}
	if datagram != nil {
		t.Errorf("sending from a cut host fails: %v; a real cut is silent", datagram)
	}
	if err := echo(dialEcho(t, two), 10*time.Second); err != nil {
		t.Errorf("the other host suffers: %v", err)
	}
	must(t, s.Heal(t.Context(), "server-1"))
	must(t, s.Heal(t.Context(), "server-1"))
	if err := readByte(c, 30*time.Second); err != nil {
		t.Errorf("the connection did not survive the cut: %v", err)
	}
	if got := host(t, s, "server-1").State; got != sandbox.StateRunning {
		t.Errorf("a healed host is %s", got)
	}
}

func TestCutHoldsOverKillAndStart(t *testing.T) {
	s := up(t, options())
	must(t, s.Cut(t.Context(), "server-1"))
	must(t, s.Kill(t.Context(), "server-1"))
	must(t, s.Start(t.Context(), "server-1"))
	h := host(t, s, "server-1")
	if h.State != sandbox.StateCut {
		t.Errorf("the host is %s", h.State)
	}
	if _, err := net.DialTimeout("tcp", net.JoinHostPort(h.Address, "1"), 300*time.Millisecond); errors.Is(err, unix.ECONNREFUSED) {
		t.Error("the host answers")
	}
	must(t, s.Heal(t.Context(), "server-1"))
	dialEcho(t, h)
}

func TestKillIsSilent(t *testing.T) {
	s := up(t, options())
	c := dialEcho(t, host(t, s, "server-1"))
	must(t, s.Kill(t.Context(), "server-1"))
	if err := readByte(c, 300*time.Millisecond); !hangs(err) {
		t.Errorf("a connection to a killed host: %v; a host without power says nothing", err)
	}
	must(t, s.Start(t.Context(), "server-1"))
	dialEcho(t, host(t, s, "server-1"))
	if _, err := os.Stat(filepath.Join(s.Dir(), "hosts", "server-1", "data", "server-token")); err != nil {
		t.Errorf("the data folder lost something: %v", err)
	}
}
