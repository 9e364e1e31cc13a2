package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/holt-project/holt/agent/proxy"
)

const webAddr = clusterIP + ":80"

func TestClientAddressSurvives(t *testing.T) {
	a, b, outside := twoHosts(t)
	client, near, far := a.pod(t, "client"), a.pod(t, "near"), b.pod(t, "far")
	near.serveNames(t)
	far.serveNames(t)
	port := fmt.Sprintf("%s:%d", a.ip, nodePort)

	t.Run("backend on the same node", func(t *testing.T) {
		a.update(service(nil), near)
		wantAnswer(t, client.NS, webAddr, fmt.Sprintf("%s saw %s", near.addr, client.addr))
		wantAnswer(t, client.NS, port, fmt.Sprintf("%s saw %s", near.addr, client.addr))
		wantAnswer(t, outside, port, near.addr.String()+" saw 198.51.100.99")
		wantAnswer(t, b.NS, port, near.addr.String()+" saw 192.0.2.2")
		wantAnswer(t, far.NS, port, near.addr.String()+" saw 192.0.2.2")
	})
	t.Run("backend on another node", func(t *testing.T) {
		a.update(service(nil), far)
		wantAnswer(t, client.NS, webAddr, fmt.Sprintf("%s saw %s", far.addr, client.addr))
		wantAnswer(t, outside, port, far.addr.String()+" saw 192.0.2.1")
		wantAnswer(t, b.NS, port, far.addr.String()+" saw 192.0.2.1")
	})
	t.Run("a pod that reaches itself", func(t *testing.T) {
		a.update(service(nil), near)
		wantAnswer(t, near.NS, webAddr, near.addr.String()+" saw 192.0.2.1")
	})
	t.Run("a program on the node", func(t *testing.T) {
		a.update(service(nil), near)
		wantAnswer(t, a.NS, webAddr, near.addr.String()+" saw 192.0.2.1")
		a.update(service(nil), far)
		wantAnswer(t, a.NS, webAddr, far.addr.String()+" saw 192.0.2.1")
	})
}

func TestSwapUnderLoadLosesNothing(t *testing.T) {
	a, b, _ := twoHosts(t)
	client := a.pod(t, "client")
	pods := []*pod{a.pod(t, "one"), b.pod(t, "two"), a.pod(t, "three"), b.pod(t, "four")}
	for _, p := range pods {
		p.serveNames(t)
	}
	a.update(service(nil), pods[0])

	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var asked atomic.Int64
	progress := make(chan struct{}, 1)
	for range 4 {
		load.Go(func() {
			for ctx.Err() == nil {
				got, err := ask(t, client.NS, webAddr)
				if err != nil || !strings.HasSuffix(got, " saw "+client.addr.String()) {
					t.Errorf("request %d: %q, %v", asked.Load(), got, err)
				}
				asked.Add(1)
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	for i := range 100 {
		a.update(service(nil), pods[i%4], pods[(i+1)%4])
		for range 5 {
			<-progress
		}
	}
	stop()
	load.Wait()
	t.Logf("%d requests over 100 changes", asked.Load())
}

func TestRemovedBackendDrains(t *testing.T) {
	h, _ := oneHost(t, nil)
	client, old, young := h.pod(t, "client"), h.pod(t, "old"), h.pod(t, "young")
	old.serveEcho(t)
	young.serveNames(t)
	h.update(service(nil), old)
	c, err := dial(t, client.NS, webAddr)
	if err != nil {
		t.Fatal(err)
	}
	echo := func(text string) {
		t.Helper()
		buf := make([]byte, len(text))
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, buf); err != nil || string(buf) != text {
			t.Fatalf("echo of %q: got %q, %v", text, buf, err)
		}
	}
	echo("before")
	h.update(service(nil), young)
	for range 10 {
		wantAnswer(t, client.NS, webAddr, fmt.Sprintf("%s saw %s", young.addr, client.addr))
	}
	echo("after the backend left the set")
	h.proxy.Update(nil, nil)
	echo("after the service was deleted")
	if _, err := ask(t, client.NS, webAddr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a deleted service: got %v, want refused", err)
	}
	// The end of one direction is passed on, and the other still works.
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) != 0 {
		t.Errorf("the end: got %q, %v", rest, err)
	}
}

func TestBackendsThatDoNotAnswerArePassedOver(t *testing.T) {
	h, _ := oneHost(t, nil)
	client, good, closed, gone := h.pod(t, "client"), h.pod(t, "good"), h.pod(t, "closed"), h.pod(t, "gone")
	good.serveNames(t)
	if err := h.net.Detach(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	h.update(service(nil), good, closed, gone)
	for range 20 {
		wantAnswer(t, client.NS, webAddr, fmt.Sprintf("%s saw %s", good.addr, client.addr))
	}
	h.update(service(nil), closed)
	if got, err := ask(t, client.NS, webAddr); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("no backend answers: got %q, %v; want a reset", got, err)
	}
	h.update(service(nil))
	if got, err := ask(t, client.NS, webAddr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("no backends: got %q, %v; want refused", got, err)
	}
}

func TestLoadIsSpreadAndAffinityKept(t *testing.T) {
	h, _ := oneHost(t, nil)
	client := h.pod(t, "client")
	var pods []*pod
	for i := range 3 {
		p := h.pod(t, fmt.Sprint("backend", i))
		p.serveNames(t)
		pods = append(pods, p)
	}
	count := func(n int) map[string]int {
		seen := map[string]int{}
		for range n {
			got, err := ask(t, client.NS, webAddr)
			if err != nil {
				t.Fatal(err)
			}
			seen[got]++
		}
		return seen
	}
	h.update(service(nil), pods...)
	for name, n := range count(30) {
		if n != 10 {
			t.Errorf("%s: got %d of 30, want 10", name, n)
		}
	}
	h.update(service(func(s *corev1.Service) { s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP }), pods...)
	if seen := count(10); len(seen) != 1 {
		t.Errorf("with affinity a client met %d backends: %v", len(seen), seen)
	}
}

func TestResetIsPassedOn(t *testing.T) {
	h, _ := oneHost(t, nil)
	client, server := h.pod(t, "client"), h.pod(t, "server")
	got := make(chan error, 1)
	handle(t, server.Listen(t, ":8080"), func(c net.Conn) {
		if _, err := io.WriteString(c, "hello"); err != nil {
			t.Error(err)
		}
		_, err := io.Copy(io.Discard, c)
		got <- err
	})
	h.update(service(nil), server)
	c, err := dial(t, client.NS, webAddr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	_ = c.SetLinger(0)
	_ = c.Close()
	if err := <-got; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the backend of a client that reset: got %v, want a reset", err)
	}
}

func TestConnectionsAreBoundedAndAllGivenBack(t *testing.T) {
	h, _ := oneHost(t, func(c *proxy.Config) { c.MaxConns = 3 })
	client, server := h.pod(t, "client"), h.pod(t, "server")
	server.serveEcho(t)
	h.update(service(nil), server)
	for range 3 {
		c, err := dial(t, client.NS, webAddr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, "x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := ask(t, client.NS, webAddr); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("one too many: got %q, %v; want a reset", got, err)
	}
	before := openSockets(t)
	if err := h.proxy.Close(); err != nil {
		t.Fatal(err)
	}
	// The listeners on two addresses and two sockets for each connection.
	if after := openSockets(t); before-after < 8 {
		t.Errorf("sockets: %d before Close, %d after", before, after)
	}
	h.update(service(nil), server)
	if _, err := ask(t, client.NS, webAddr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a closed proxy: got %v, want refused", err)
	}
}

func openSockets(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}

func TestTakenPortIsTriedAgain(t *testing.T) {
	h, _ := oneHost(t, nil)
	client, server := h.pod(t, "client"), h.pod(t, "server")
	server.serveNames(t)
	squatter := h.Listen(t, webAddr)
	h.update(service(nil), server)

	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.proxy.Run(ctx) }()
	_ = squatter.Close()
	want := fmt.Sprintf("%s saw %s", server.addr, client.addr)
	for {
		got, err := ask(t, client.NS, webAddr)
		if err == nil && got == want {
			break
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := ask(t, client.NS, webAddr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after Run: got %v, want refused", err)
	}
}

func TestWhichEndpointsGetTraffic(t *testing.T) {
	h, outside := oneHost(t, nil)
	client, one, two := h.pod(t, "client"), h.pod(t, "one"), h.pod(t, "two")
	for _, p := range []*pod{one, two} {
		p.serveNames(t)
	}
	// All that the node itself listens on must stay out of reach of endpoints written by users.
	handle(t, h.Listen(t, ":8080"), func(c net.Conn) { _, _ = io.WriteString(c, "the node saw somebody") })
	at := func(addr string, change func(*discoveryv1.Endpoint)) discoveryv1.Endpoint {
		e := ready(one)
		e.Addresses = []string{addr}
		if change != nil {
			change(&e)
		}
		return e
	}
	ending := func(e *discoveryv1.Endpoint) {
		e.Conditions = discoveryv1.EndpointConditions{Ready: ptr(false), Serving: ptr(true), Terminating: ptr(true)}
	}
	elsewhere := func(e *discoveryv1.Endpoint) { e.NodeName = ptr("node9") }
	local := corev1.ServiceInternalTrafficPolicyLocal
	port := fmt.Sprintf("%s:%d", h.ip, nodePort)

	for name, test := range map[string]struct {
		service   func(*corev1.Service)
		endpoints []discoveryv1.Endpoint
		addr      string
		want      string // the backend; empty: refused
	}{
		"ready rather than ending": {nil, []discoveryv1.Endpoint{at(one.addr.String(), ending), ready(two)}, webAddr, two.addr.String()},
		"ending rather than none":  {nil, []discoveryv1.Endpoint{at(one.addr.String(), ending)}, webAddr, one.addr.String()},
		"not ready": {nil, []discoveryv1.Endpoint{at(one.addr.String(), func(e *discoveryv1.Endpoint) {
			e.Conditions.Ready = ptr(false)
		})}, webAddr, ""},
		"nothing said means ready": {nil, []discoveryv1.Endpoint{at(one.addr.String(), func(e *discoveryv1.Endpoint) {
			e.Conditions = discoveryv1.EndpointConditions{}
		})}, webAddr, one.addr.String()},
		"internal policy local": {func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &local },
			[]discoveryv1.Endpoint{at(one.addr.String(), elsewhere), ready(two)}, webAddr, two.addr.String()},
		"internal policy local, none here": {func(s *corev1.Service) { s.Spec.InternalTrafficPolicy = &local },
			[]discoveryv1.Endpoint{at(one.addr.String(), elsewhere)}, webAddr, ""},
		"external policy local": {func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal },
			[]discoveryv1.Endpoint{at(one.addr.String(), elsewhere)}, port, ""},
		"another proxy's": {func(s *corev1.Service) { s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "x"} },
			[]discoveryv1.Endpoint{ready(one)}, port, ""},
		"headless":   {func(s *corev1.Service) { s.Spec.ClusterIP = "None" }, []discoveryv1.Endpoint{ready(one)}, port, ""},
		"loopback":   {nil, []discoveryv1.Endpoint{at("127.0.0.1", nil)}, webAddr, ""},
		"link-local": {nil, []discoveryv1.Endpoint{at("169.254.1.1", nil)}, webAddr, ""},
		"metadata":   {nil, []discoveryv1.Endpoint{at("169.254.169.254", nil)}, webAddr, ""},
		"the node":   {nil, []discoveryv1.Endpoint{at("192.0.2.1", nil)}, webAddr, ""},
		"a service":  {nil, []discoveryv1.Endpoint{at("10.43.0.1", nil)}, webAddr, ""},
		"nonsense":   {nil, []discoveryv1.Endpoint{at("", nil), at("host.example", nil), {}}, webAddr, ""},
		"a pod in the node's network": {nil, []discoveryv1.Endpoint{at("192.0.2.1", func(e *discoveryv1.Endpoint) {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: "ingress"}
		})}, webAddr, "the node"},
	} {
		t.Run(name, func(t *testing.T) {
			h.proxy.Update([]*corev1.Service{service(test.service)}, []*discoveryv1.EndpointSlice{slice(test.endpoints...)})
			from := client.NS
			if test.addr == port {
				from = outside
			}
			got, err := ask(t, from, test.addr)
			backend, _, _ := strings.Cut(got, " saw ")
			if test.want == "" && !errors.Is(err, syscall.ECONNREFUSED) || test.want != "" && (err != nil || backend != test.want) {
				t.Errorf("got %q, %v; want %q (empty: refused)", got, err, test.want)
			}
		})
	}
}
