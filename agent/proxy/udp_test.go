package proxy_test

import (
	"fmt"
	"net"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/holt-project/holt/internal/nstest"
)

func TestDatagrams(t *testing.T) {
	a, b, outside := twoHosts(t)
	client, near, far := a.pod(t, "client"), a.pod(t, "near"), b.pod(t, "far")
	near.serveDatagrams(t)
	far.serveDatagrams(t)
	update := func(p *pod) {
		svc, eps := service(func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }), slice(ready(p))
		eps.Ports[0].Protocol = ptr(corev1.ProtocolUDP)
		a.proxy.Update([]*corev1.Service{svc}, []*discoveryv1.EndpointSlice{eps})
	}
	dial := func(from *nstest.NS, addr string) net.Conn {
		t.Helper()
		c, err := from.Dial(t.Context(), "udp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	want := func(c net.Conn, size int, text string) {
		t.Helper()
		if got := say(t, c, size); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	port := fmt.Sprintf("%s:%d", a.ip, nodePort)

	update(near)
	c := dial(client.NS, webAddr)
	want(c, 10, fmt.Sprintf("%s saw 10 from %s", near.addr, client.addr))
	want(c, 20000, fmt.Sprintf("%s saw 20000 from %s", near.addr, client.addr))
	want(dial(outside, port), 0, near.addr.String()+" saw 0 from 198.51.100.99")
	want(dial(near.NS, webAddr), 1, near.addr.String()+" saw 1 from 192.0.2.1")

	update(far) // the flow follows: UDP has nothing to drain
	want(c, 11, fmt.Sprintf("%s saw 11 from %s", far.addr, client.addr))
	want(dial(outside, port), 3, far.addr.String()+" saw 3 from 192.0.2.1")

	// The same address and port may serve both protocols.
	near.serveNames(t)
	both := service(func(s *corev1.Service) {
		p := s.Spec.Ports[0]
		p.Name, p.Protocol = "http-udp", corev1.ProtocolUDP
		s.Spec.Ports = append(s.Spec.Ports, p)
	})
	eps := slice(ready(near))
	eps.Ports = append(eps.Ports, discoveryv1.EndpointPort{Name: ptr("http-udp"), Protocol: ptr(corev1.ProtocolUDP), Port: ptr(int32(8080))})
	a.proxy.Update([]*corev1.Service{both}, []*discoveryv1.EndpointSlice{eps})
	wantAnswer(t, client.NS, webAddr, fmt.Sprintf("%s saw %s", near.addr, client.addr))
	want(c, 12, fmt.Sprintf("%s saw 12 from %s", near.addr, client.addr))
}
