package proxy

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// serviceProxyName is the label by which a Service asks for another proxy than the default one.
const serviceProxyName = "service.kubernetes.io/service-proxy-name"

// rule is what one listener is to do.
type rule struct {
	service  string           // namespace/name:port, for logs
	backends []netip.AddrPort // sorted, without doubles, never empty
	affinity time.Duration    // how long a client keeps its backend; zero: not at all
}

func (r rule) equal(o rule) bool {
	return r.service == o.service && r.affinity == o.affinity && slices.Equal(r.backends, o.backends)
}

// candidate is one endpoint of a Service's port, with what decides whether it gets traffic.
type candidate struct {
	addr               netip.AddrPort
	local              bool
	ready, terminating bool
	serving            bool
}

// portKey finds the endpoints of one Service's port.
type portKey struct {
	namespace, service, port string
	protocol                 protocol
}

// protocol is what Go's net package calls it.
type protocol string

const (
	tcp protocol = "tcp4"
	udp protocol = "udp4"
)

// protocolOf is false for what is not carried.
func protocolOf(p corev1.Protocol) (protocol, bool) {
	switch p {
	case "", corev1.ProtocolTCP:
		return tcp, true
	case corev1.ProtocolUDP:
		return udp, true
	}
	return "", false
}

// listenKey is where one rule is listened for.
type listenKey struct {
	protocol protocol
	addr     netip.AddrPort
}

// rules says where to listen and where to relay to, for Services as they are. Of two that claim one address
// the older wins, and its name decides between equals.
func (c *Config) rules(services []*corev1.Service, eps []*discoveryv1.EndpointSlice) map[listenKey]rule {
	candidates := c.candidates(eps)
	ordered := slices.Clone(services)
	slices.SortFunc(ordered, func(a, b *corev1.Service) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	out := map[listenKey]rule{}
	for _, s := range ordered {
		if !proxied(s) {
			continue
		}
		for i := range s.Spec.Ports {
			c.addPort(out, s, &s.Spec.Ports[i], candidates)
		}
	}
	return out
}

// proxied reports whether a Service has addresses of its own and is ours to serve.
func proxied(s *corev1.Service) bool {
	_, elsewhere := s.Labels[serviceProxyName]
	return !elsewhere && s.Spec.Type != corev1.ServiceTypeExternalName &&
		s.Spec.ClusterIP != "" && s.Spec.ClusterIP != corev1.ClusterIPNone
}

func (c *Config) addPort(out map[listenKey]rule, s *corev1.Service, port *corev1.ServicePort, all map[portKey][]candidate) {
	proto, ok := protocolOf(port.Protocol)
	if !ok {
		return
	}
	found := all[portKey{s.Namespace, s.Name, port.Name, proto}]
	r := rule{service: s.Namespace + "/" + s.Name + ":" + strconv.Itoa(int(port.Port)), affinity: affinityOf(s)}

	add := func(ip netip.Addr, number int32, localOnly bool) {
		addr := netip.AddrPortFrom(ip, uint16(number))
		if number < 1 || number > 65535 || slices.Contains(c.Reserved, addr) {
			return
		}
		r.backends = choose(found, localOnly)
		key := listenKey{proto, addr}
		if _, taken := out[key]; !taken && len(r.backends) > 0 {
			out[key] = r
		}
	}
	internalLocal := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal
	for _, text := range append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...) {
		// What is not in the range that the node owns would take an address away from somebody.
		if ip, err := netip.ParseAddr(text); err == nil && c.ServiceCIDR.Contains(ip) {
			add(ip, port.Port, internalLocal)
		}
	}
	if c.NodePorts && port.NodePort != 0 {
		add(c.NodeIP, port.NodePort, s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal)
	}
}

func affinityOf(s *corev1.Service) time.Duration {
	if s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	seconds := corev1.DefaultClientIPServiceAffinitySeconds
	if a := s.Spec.SessionAffinityConfig; a != nil && a.ClientIP != nil && a.ClientIP.TimeoutSeconds != nil {
		seconds = *a.ClientIP.TimeoutSeconds
	}
	return time.Duration(seconds) * time.Second
}

// choose takes the ready endpoints or, without any, those that end but still serve (KEP-1669).
func choose(all []candidate, localOnly bool) []netip.AddrPort {
	for _, usable := range []func(candidate) bool{
		func(c candidate) bool { return c.ready },
		func(c candidate) bool { return c.serving && c.terminating },
	} {
		var out []netip.AddrPort
		for _, c := range all {
			if usable(c) && (c.local || !localOnly) {
				out = append(out, c.addr)
			}
		}
		if len(out) > 0 {
			slices.SortFunc(out, netip.AddrPort.Compare)
			return slices.Compact(out)
		}
	}
	return nil
}

func (c *Config) candidates(eps []*discoveryv1.EndpointSlice) map[portKey][]candidate {
	nodes := map[netip.Addr]bool{c.NodeIP: true}
	if c.NodeAddrs != nil {
		for _, a := range c.NodeAddrs() {
			nodes[a] = true
		}
	}
	out := map[portKey][]candidate{}
	for _, slice := range eps {
		service := slice.Labels[discoveryv1.LabelServiceName]
		if service == "" || slice.AddressType != discoveryv1.AddressTypeIPv4 {
			continue
		}
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			ip, ok := c.target(slice, e, nodes)
			if !ok {
				continue
			}
			for _, p := range slice.Ports {
				proto, ok := protocolOf(value(p.Protocol))
				if !ok || p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
					continue
				}
				key := portKey{slice.Namespace, service, value(p.Name), proto}
				out[key] = append(out[key], c.candidate(e, netip.AddrPortFrom(ip, uint16(*p.Port))))
			}
		}
	}
	return out
}

func (c *Config) candidate(e *discoveryv1.Endpoint, addr netip.AddrPort) candidate {
	ready := e.Conditions.Ready == nil || *e.Conditions.Ready
	serving := ready
	if e.Conditions.Serving != nil {
		serving = *e.Conditions.Serving
	}
	return candidate{
		addr: addr, ready: ready, serving: serving, terminating: value(e.Conditions.Terminating),
		local: e.NodeName != nil && *e.NodeName == c.Node,
	}
}

// target is the endpoint's address, if it is one that may be dialled on behalf of somebody else. The API allows
// several addresses and gives a meaning only to the first.
func (c *Config) target(slice *discoveryv1.EndpointSlice, e *discoveryv1.Endpoint, nodes map[netip.Addr]bool) (netip.Addr, bool) {
	if len(e.Addresses) == 0 {
		return netip.Addr{}, false
	}
	ip, err := netip.ParseAddr(e.Addresses[0])
	switch {
	case err != nil || !ip.Is4() || !ip.IsGlobalUnicast() || c.ServiceCIDR.Contains(ip):
		// IsGlobalUnicast is false for loopback, link-local, multicast, broadcast and unspecified ones.
		return netip.Addr{}, false
	case !nodes[ip]:
		return ip, true
	}
	hostPod := e.TargetRef != nil && e.TargetRef.Kind == "Pod" && e.NodeName != nil
	servers := slice.Namespace == corev1.NamespaceDefault && slice.Labels[discoveryv1.LabelServiceName] == "kubernetes"
	return ip, hostPod || servers
}

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
