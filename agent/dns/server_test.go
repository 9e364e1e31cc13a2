package dns_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	mdns "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/agent/dns"
	"github.com/holt-project/holt/internal/nstest"
)

const (
	dnsAddr  = "10.43.0.10"
	upstream = "203.0.113.53"
)

// site is a node with a DNS server and, in the same namespace, resolvers of the outer world.
type site struct {
	*nstest.NS
	server *dns.Server
	resolv string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{NS: nstest.New(t), resolv: filepath.Join(t.TempDir(), "resolv.conf")}
	for _, a := range []string{dnsAddr, upstream, "203.0.113.54"} {
		s.Address(t, "lo", netip.MustParsePrefix(a+"/32"))
	}
	// The server's own address stands in the file as well: it must never ask itself.
	s.resolvers(t, dnsAddr, upstream)
	s.server = dns.New(dns.Config{
		Addrs: []netip.AddrPort{netip.MustParseAddrPort(dnsAddr + ":53")}, Domain: "cluster.local",
		Internal:   []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16"), netip.MustParsePrefix("10.43.0.0/16")},
		ResolvConf: s.resolv, Enter: s.Do,
	}, slog.New(slog.DiscardHandler))
	if err := s.server.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.server.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s.server.Update(services(), endpoints())
	return s
}

func (s *site) resolvers(t *testing.T, addrs ...string) {
	t.Helper()
	text := "search example.com\n"
	for _, a := range addrs {
		text += "nameserver " + a + "\n"
	}
	if err := os.WriteFile(s.resolv, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serveUpstream answers as a resolver of the outer world.
func (s *site) serveUpstream(t *testing.T, addr string, handler mdns.HandlerFunc) {
	t.Helper()
	for _, srv := range []*mdns.Server{
		{PacketConn: s.ListenPacket(t, addr+":53"), Handler: handler},
		{Listener: s.Listen(t, addr+":53"), Handler: handler},
	} {
		started, ended := make(chan struct{}), make(chan error, 1)
		srv.NotifyStartedFunc = func() { close(started) }
		go func() { ended <- srv.ActivateAndServe() }()
		<-started
		t.Cleanup(func() {
			_ = srv.Shutdown()
			<-ended
		})
	}
}

// world knows web.example.org and nothing else; big.example.org has an answer too large for UDP.
func world(address string) mdns.HandlerFunc {
	return func(w mdns.ResponseWriter, q *mdns.Msg) {
		reply := new(mdns.Msg).SetReply(q)
		reply.RecursionAvailable = true
		switch name := q.Question[0].Name; name {
		case "web.example.org.":
			rr, _ := mdns.NewRR(name + " 60 IN A " + address)
			reply.Answer = append(reply.Answer, rr)
		case "big.example.org.":
			for i := range 200 {
				rr, _ := mdns.NewRR(fmt.Sprintf("%s 60 IN A 198.51.100.%d", name, i))
				reply.Answer = append(reply.Answer, rr)
			}
		default:
			reply.Rcode = mdns.RcodeNameError
		}
		if w.RemoteAddr().Network() == "udp" {
			reply.Truncate(mdns.MinMsgSize)
		}
		_ = w.WriteMsg(reply)
	}
}

func (s *site) exchange(t *testing.T, network string, q *mdns.Msg) *mdns.Msg {
	t.Helper()
	c, err := s.Dial(t.Context(), network+"4", dnsAddr+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := &mdns.Client{Net: network, Timeout: 20 * time.Second}
	reply, _, err := client.ExchangeWithConn(q, &mdns.Conn{Conn: c})
	if err != nil {
		t.Fatalf("%v: %v", q.Question, err)
	}
	return reply
}

func (s *site) ask(t *testing.T, name string, qtype uint16) *mdns.Msg {
	t.Helper()
	return s.exchange(t, "udp", new(mdns.Msg).SetQuestion(name, qtype))
}

// lines are records as text, without the fields that all have in common.
func lines(rrs []mdns.RR) []string {
	var out []string
	for _, rr := range rrs {
		if rr.Header().Rrtype == mdns.TypeOPT {
			continue
		}
		f := strings.Fields(rr.String())
		out = append(out, f[0]+" "+strings.Join(f[3:], " "))
	}
	slices.Sort(out)
	return out
}

func ptr[T any](v T) *T { return &v }

func services() []*corev1.Service {
	named := func(name string, spec corev1.ServiceSpec) *corev1.Service {
		return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}
	}
	http := []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}}
	return []*corev1.Service{
		named("web", corev1.ServiceSpec{ClusterIP: "10.43.0.20", Ports: http}),
		named("db", corev1.ServiceSpec{ClusterIP: "None", Ports: http}),
		named("early", corev1.ServiceSpec{ClusterIP: "None", PublishNotReadyAddresses: true}),
		named("empty", corev1.ServiceSpec{ClusterIP: "None"}),
		named("many", corev1.ServiceSpec{ClusterIP: "None"}),
		named("alias", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "Web.example.org"}),
		named("inner", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.shop.svc.cluster.local"}),
		named("loop", corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "loop.shop.svc.cluster.local"}),
	}
}

func endpoints() []*discoveryv1.EndpointSlice {
	of := func(service string, eps ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
		return &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service},
			},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: eps,
			Ports: []discoveryv1.EndpointPort{{Name: ptr("http"), Port: ptr(int32(8080))}},
		}
	}
	waiting := discoveryv1.Endpoint{Addresses: []string{"10.42.1.9"}, Conditions: discoveryv1.EndpointConditions{Ready: ptr(false)}}
	many := make([]discoveryv1.Endpoint, 200)
	for i := range many {
		many[i].Addresses = []string{fmt.Sprintf("10.42.7.%d", i)}
	}
	return []*discoveryv1.EndpointSlice{
		of("db", discoveryv1.Endpoint{Addresses: []string{"10.42.1.5"}, Hostname: ptr("db-0")},
			discoveryv1.Endpoint{Addresses: []string{"10.42.2.6"}}, waiting),
		of("early", waiting),
		of("empty", waiting),
		of("many", many...),
	}
}

func TestClusterNames(t *testing.T) {
	s := newSite(t)
	s.serveUpstream(t, upstream, world("198.51.100.80"))
	for name, test := range map[string]struct {
		name   string
		qtype  uint16
		rcode  int
		answer []string
		extra  []string
	}{
		"a service":             {"web.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"web.shop.svc.cluster.local. A 10.43.0.20"}, nil},
		"in capitals":           {"WEB.Shop.svc.cluster.LOCAL.", mdns.TypeA, 0, []string{"web.shop.svc.cluster.local. A 10.43.0.20"}, nil},
		"of another type":       {"web.shop.svc.cluster.local.", mdns.TypeAAAA, 0, nil, nil},
		"a port":                {"_http._tcp.web.shop.svc.cluster.local.", mdns.TypeSRV, 0, []string{"_http._tcp.web.shop.svc.cluster.local. SRV 0 100 80 web.shop.svc.cluster.local."}, []string{"web.shop.svc.cluster.local. A 10.43.0.20"}},
		"a port that is not":    {"_https._tcp.web.shop.svc.cluster.local.", mdns.TypeSRV, mdns.RcodeNameError, nil, nil},
		"above ports":           {"_tcp.web.shop.svc.cluster.local.", mdns.TypeA, 0, nil, nil},
		"a namespace":           {"shop.svc.cluster.local.", mdns.TypeA, 0, nil, nil},
		"the domain":            {"cluster.local.", mdns.TypeA, 0, nil, nil},
		"no service":            {"nosuch.shop.svc.cluster.local.", mdns.TypeA, mdns.RcodeNameError, nil, nil},
		"no namespace":          {"web.nosuch.svc.cluster.local.", mdns.TypeA, mdns.RcodeNameError, nil, nil},
		"headless":              {"db.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"db.shop.svc.cluster.local. A 10.42.1.5", "db.shop.svc.cluster.local. A 10.42.2.6"}, nil},
		"headless, none ready":  {"empty.shop.svc.cluster.local.", mdns.TypeA, 0, nil, nil},
		"not ready but wanted":  {"early.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"early.shop.svc.cluster.local. A 10.42.1.9"}, nil},
		"a host of a service":   {"db-0.db.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"db-0.db.shop.svc.cluster.local. A 10.42.1.5"}, nil},
		"a host without a name": {"10-42-2-6.db.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"10-42-2-6.db.shop.svc.cluster.local. A 10.42.2.6"}, nil},
		"ports of hosts": {"_http._tcp.db.shop.svc.cluster.local.", mdns.TypeSRV, 0,
			[]string{"_http._tcp.db.shop.svc.cluster.local. SRV 0 33 8080 10-42-2-6.db.shop.svc.cluster.local.", "_http._tcp.db.shop.svc.cluster.local. SRV 0 33 8080 db-0.db.shop.svc.cluster.local."},
			[]string{"10-42-2-6.db.shop.svc.cluster.local. A 10.42.2.6", "db-0.db.shop.svc.cluster.local. A 10.42.1.5"}},
		"an alias outside":     {"alias.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"alias.shop.svc.cluster.local. CNAME web.example.org.", "web.example.org. A 198.51.100.80"}, nil},
		"the alias itself":     {"alias.shop.svc.cluster.local.", mdns.TypeCNAME, 0, []string{"alias.shop.svc.cluster.local. CNAME web.example.org."}, nil},
		"an alias inside":      {"inner.shop.svc.cluster.local.", mdns.TypeA, 0, []string{"inner.shop.svc.cluster.local. CNAME web.shop.svc.cluster.local.", "web.shop.svc.cluster.local. A 10.43.0.20"}, nil},
		"who has a service IP": {"20.0.43.10.in-addr.arpa.", mdns.TypePTR, 0, []string{"20.0.43.10.in-addr.arpa. PTR web.shop.svc.cluster.local."}, nil},
		"who has a pod's IP":   {"5.1.42.10.in-addr.arpa.", mdns.TypePTR, 0, []string{"5.1.42.10.in-addr.arpa. PTR db-0.db.shop.svc.cluster.local."}, nil},
		"who has no IP":        {"77.0.43.10.in-addr.arpa.", mdns.TypePTR, mdns.RcodeNameError, nil, nil},
		"the version":          {"dns-version.cluster.local.", mdns.TypeTXT, 0, []string{`dns-version.cluster.local. TXT "1.1.0"`}, nil},
		"outside":              {"web.example.org.", mdns.TypeA, 0, []string{"web.example.org. A 198.51.100.80"}, nil},
		"outside, not there":   {"nosuch.example.org.", mdns.TypeA, mdns.RcodeNameError, nil, nil},
		"nearly the domain":    {"notcluster.local.", mdns.TypeA, mdns.RcodeNameError, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.ask(t, test.name, test.qtype)
			if got.Rcode != test.rcode {
				t.Errorf("got %s, want %s", mdns.RcodeToString[got.Rcode], mdns.RcodeToString[test.rcode])
			}
			if got.Question[0].Name != test.name {
				t.Errorf("the question came back as %q", got.Question[0].Name)
			}
			if diff := cmp.Diff(test.answer, lines(got.Answer)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.extra, lines(got.Extra)); diff != "" {
				t.Errorf("additional (-want +got):\n%s", diff)
			}
			if soa := len(got.Ns) == 1 && got.Ns[0].Header().Rrtype == mdns.TypeSOA; got.Authoritative && len(test.answer) == 0 && !soa {
				t.Error("a negative answer of the cluster came without a SOA")
			}
		})
	}
	if got := s.ask(t, "loop.shop.svc.cluster.local.", mdns.TypeA); len(got.Answer) > 10 {
		t.Errorf("an alias of itself: got %d records", len(got.Answer))
	}
}

func TestUpdateIsSeenAtOnce(t *testing.T) {
	s := newSite(t)
	s.server.Update(services()[1:], nil)
	if got := s.ask(t, "web.shop.svc.cluster.local.", mdns.TypeA); got.Rcode != mdns.RcodeNameError {
		t.Errorf("a deleted service: got %s", mdns.RcodeToString[got.Rcode])
	}
	s.server.Update(services(), nil)
	if got := s.ask(t, "web.shop.svc.cluster.local.", mdns.TypeA); len(got.Answer) != 1 {
		t.Errorf("a new service: got %v", got.Answer)
	}
}

func TestLargeAnswers(t *testing.T) {
	s := newSite(t)
	s.serveUpstream(t, upstream, world("198.51.100.80"))
	for _, name := range []string{"many.shop.svc.cluster.local.", "big.example.org."} {
		plain := s.ask(t, name, mdns.TypeA)
		plain.Compress = true // as it was on the wire
		if !plain.Truncated || plain.Len() > mdns.MinMsgSize {
			t.Errorf("%s over UDP: truncated %v, %d bytes; want truncated to 512", name, plain.Truncated, plain.Len())
		}
		q := new(mdns.Msg).SetQuestion(name, mdns.TypeA)
		q.SetEdns0(4096, false)
		edns := s.exchange(t, "udp", q)
		if !edns.Truncated || len(edns.Answer) <= len(plain.Answer) || edns.IsEdns0() == nil {
			t.Errorf("%s over UDP with EDNS: truncated %v, %d records", name, edns.Truncated, len(edns.Answer))
		}
		if tcp := s.exchange(t, "tcp", new(mdns.Msg).SetQuestion(name, mdns.TypeA)); tcp.Truncated || len(tcp.Answer) != 200 {
			t.Errorf("%s over TCP: truncated %v, %d records, want 200", name, tcp.Truncated, len(tcp.Answer))
		}
	}
}

func TestUpstreams(t *testing.T) {
	s := newSite(t)
	// Nobody listens: refused at once.
	if got := s.ask(t, "web.example.org.", mdns.TypeA); got.Rcode != mdns.RcodeServerFailure {
		t.Errorf("without a resolver: got %s, want SERVFAIL", mdns.RcodeToString[got.Rcode])
	}
	s.serveUpstream(t, "203.0.113.54", world("198.51.100.81"))
	s.resolvers(t, dnsAddr, upstream, "203.0.113.54")
	// The change is seen within a moment; the first resolver still refuses.
	for {
		got := s.ask(t, "web.example.org.", mdns.TypeA)
		if got.Rcode == mdns.RcodeServerFailure && t.Context().Err() == nil {
			continue
		}
		if diff := cmp.Diff([]string{"web.example.org. A 198.51.100.81"}, lines(got.Answer)); diff != "" {
			t.Errorf("from the second resolver:\n%s", diff)
		}
		break
	}
}

func TestOddQuestions(t *testing.T) {
	s := newSite(t)
	chaos := new(mdns.Msg).SetQuestion("version.bind.", mdns.TypeTXT)
	chaos.Question[0].Qclass = mdns.ClassCHAOS
	if got := s.exchange(t, "udp", chaos); got.Rcode != mdns.RcodeRefused {
		t.Errorf("another class: got %s", mdns.RcodeToString[got.Rcode])
	}
	future := new(mdns.Msg).SetQuestion("web.shop.svc.cluster.local.", mdns.TypeA)
	future.SetEdns0(1232, false)
	future.IsEdns0().SetVersion(1)
	if got := s.exchange(t, "udp", future); got.Rcode != mdns.RcodeBadVers {
		t.Errorf("EDNS version 1: got %s", mdns.RcodeToString[got.Rcode])
	}
	// Garbage gets no answer and does no harm.
	c, err := s.Dial(t.Context(), "udp4", dnsAddr+":53")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, junk := range []string{"", "x", strings.Repeat("\xff", 600), "\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\xc0\x0c"} {
		if _, err := c.Write([]byte(junk)); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.ask(t, "web.shop.svc.cluster.local.", mdns.TypeA); len(got.Answer) != 1 {
		t.Errorf("after garbage: got %v", got)
	}
}

func TestAddressInUse(t *testing.T) {
	s := newSite(t)
	second := dns.New(dns.Config{
		Addrs: []netip.AddrPort{netip.MustParseAddrPort(upstream + ":53"), netip.MustParseAddrPort(dnsAddr + ":53")}, Enter: s.Do,
	}, slog.New(slog.DiscardHandler))
	if err := second.Run(t.Context()); err == nil {
		t.Fatal("two servers have one address")
	}
	s.ListenPacket(t, upstream+":53") // the first address was given back
	s.Listen(t, upstream+":53")
}
