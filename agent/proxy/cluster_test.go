package proxy_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/agent/network"
	"github.com/holt-project/holt/agent/proxy"
	"github.com/holt-project/holt/internal/nstest"
)

const (
	clusterIP = "10.43.0.10"
	nodePort  = 30080
)

// host is a node of the test: a namespace with a pod network and a proxy.
type host struct {
	*nstest.NS
	name  string
	ip    netip.Addr
	net   *network.Network
	proxy *proxy.Proxy
}

// pod is a namespace with an address on a host.
type pod struct {
	*nstest.NS
	addr netip.Addr
	host *host
}

func newHost(t *testing.T, ns *nstest.NS, number int, change func(*proxy.Config)) *host {
	t.Helper()
	h := &host{NS: ns, name: fmt.Sprintf("node%d", number), ip: netip.AddrFrom4([4]byte{192, 0, 2, byte(number)})}
	subnet := netip.MustParsePrefix(fmt.Sprintf("10.42.%d.0/24", number))
	cluster, services := netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16")
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	err := h.Do(func() (err error) {
		h.net, err = network.Setup(t.Context(), network.Config{
			Node: h.name, NodeIP: h.ip, PodCIDR: subnet, ClusterCIDR: cluster, ServiceCIDR: services, StateDir: t.TempDir(),
		}, log)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.net.Close)
	cfg := proxy.Config{
		Node: h.name, NodeIP: h.ip, PodCIDR: subnet, ClusterCIDR: cluster, ServiceCIDR: services,
		NodePorts: true, Enter: h.Do,
	}
	if change != nil {
		change(&cfg)
	}
	h.proxy = proxy.New(cfg, log)
	t.Cleanup(func() {
		if err := h.proxy.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// oneHost is a node with a cable to a machine outside of the cluster.
func oneHost(t *testing.T, change func(*proxy.Config)) (h *host, outside *nstest.NS) {
	t.Helper()
	ns, outside := nstest.New(t), nstest.New(t)
	nstest.Join(t, ns, "up0", netip.MustParsePrefix("192.0.2.1/24"), outside, "out0", netip.MustParsePrefix("192.0.2.99/24"))
	return newHost(t, ns, 1, change), outside
}

// twoHosts are nodes with a common network, and a machine outside that reaches the first.
func twoHosts(t *testing.T) (a, b *host, outside *nstest.NS) {
	t.Helper()
	nsA, nsB, outside := nstest.New(t), nstest.New(t), nstest.New(t)
	nstest.Join(t, nsA, "up0", netip.MustParsePrefix("192.0.2.1/24"), nsB, "up0", netip.MustParsePrefix("192.0.2.2/24"))
	nstest.Join(t, nsA, "wan0", netip.MustParsePrefix("198.51.100.1/24"), outside, "out0", netip.MustParsePrefix("198.51.100.99/24"))
	outside.DefaultVia(t, netip.MustParseAddr("198.51.100.1"))
	a, b = newHost(t, nsA, 1, nil), newHost(t, nsB, 2, nil)
	var peers []network.Peer
	for i, h := range []*host{a, b} {
		peers = append(peers, network.Peer{Node: h.name, NodeIP: h.ip, PodCIDR: netip.MustParsePrefix(fmt.Sprintf("10.42.%d.0/24", i+1))})
	}
	for _, h := range []*host{a, b} {
		if err := h.net.SetPeers(peers); err != nil {
			t.Fatal(err)
		}
	}
	return a, b, outside
}

func (h *host) pod(t *testing.T, uid string) *pod {
	t.Helper()
	ns := nstest.New(t)
	addr, err := h.net.Attach(t.Context(), uid, ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	return &pod{NS: ns, addr: addr, host: h}
}

// handle serves connections of a listener with f until the test ends, and joins its goroutines.
func handle(t *testing.T, l net.Listener, f func(net.Conn)) {
	t.Helper()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			tasks.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		tasks.Wait()
	})
}

// serveNames answers with the pod's own address and that of its client.
func (p *pod) serveNames(t *testing.T) {
	t.Helper()
	handle(t, p.Listen(t, ":8080"), func(c net.Conn) {
		client, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		_, _ = fmt.Fprintf(c, "%s saw %s", p.addr, client)
	})
}

// serveEcho sends back what comes in, and ends when its client does.
func (p *pod) serveEcho(t *testing.T) {
	t.Helper()
	handle(t, p.Listen(t, ":8080"), func(c net.Conn) { _, _ = io.Copy(c, c) })
}

func service(change func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeNodePort, ClusterIP: clusterIP, ClusterIPs: []string{clusterIP},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, NodePort: nodePort}},
		},
	}
	if change != nil {
		change(s)
	}
	return s
}

func ready(p *pod) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{p.addr.String()}, NodeName: &p.host.name,
		Conditions: discoveryv1.EndpointConditions{Ready: ptr(true)},
	}
}

func ptr[T any](v T) *T { return &v }

func slice(endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"},
		},
		AddressType: discoveryv1.AddressTypeIPv4, Endpoints: endpoints,
		Ports: []discoveryv1.EndpointPort{{Name: ptr("http"), Protocol: ptr(corev1.ProtocolTCP), Port: ptr(int32(8080))}},
	}
}

func (h *host) update(s *corev1.Service, pods ...*pod) {
	var eps []discoveryv1.Endpoint
	for _, p := range pods {
		eps = append(eps, ready(p))
	}
	h.proxy.Update([]*corev1.Service{s}, []*discoveryv1.EndpointSlice{slice(eps...)})
}

func dial(t *testing.T, from *nstest.NS, addr string) (*net.TCPConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := from.Dial(ctx, "tcp4", addr)
	if err != nil {
		return nil, err
	}
	tcp := c.(*net.TCPConn)
	_ = tcp.SetDeadline(time.Now().Add(30 * time.Second))
	t.Cleanup(func() { _ = tcp.Close() })
	return tcp, nil
}

// ask returns all that a server says.
func ask(t *testing.T, from *nstest.NS, addr string) (string, error) {
	t.Helper()
	c, err := dial(t, from, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	got, err := io.ReadAll(c)
	return string(got), err
}

func wantAnswer(t *testing.T, from *nstest.NS, addr, want string) {
	t.Helper()
	if got, err := ask(t, from, addr); err != nil || got != want {
		t.Errorf("asking %s: got %q, %v; want %q", addr, got, err, want)
	}
}

// serveDatagrams answers each datagram as serveNames does a connection.
func (p *pod) serveDatagrams(t *testing.T) {
	t.Helper()
	c := p.ListenPacket(t, ":8080")
	var task sync.WaitGroup
	task.Go(func() {
		buf := make([]byte, 1<<16)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			client, _, _ := net.SplitHostPort(from.String())
			_, _ = c.WriteTo(fmt.Appendf(nil, "%s saw %d from %s", p.addr, n, client), from)
		}
	})
	t.Cleanup(func() {
		_ = c.Close()
		task.Wait()
	})
}

// say sends a datagram and returns the answer.
func say(t *testing.T, c net.Conn, size int) string {
	t.Helper()
	if _, err := c.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1<<10)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}
