package dns

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// kind is the type of a record, of those that the zone can have.
type kind uint8

const (
	kindA kind = iota + 1
	kindSRV
	kindCNAME
	kindPTR
	kindTXT
)

// record is one record of the zone. Names are lower case and end with a dot.
type record struct {
	name   string
	kind   kind
	addr   netip.Addr // A
	target string     // SRV, CNAME and PTR; the text of TXT
	port   uint16     // SRV
	weight uint16     // SRV
}

// zone is the whole of the cluster's names. It is never changed once built.
type zone struct {
	domain  string // with its dot
	records map[string][]record
	// parents are names without records that have some below them: they exist.
	parents map[string]bool
}

// specVersion is the version of the specification that is followed.
const specVersion = "1.1.0"

type serviceKey struct{ namespace, name string }

func newZone(domain string, services []*corev1.Service, eps []*discoveryv1.EndpointSlice) *zone {
	z := &zone{domain: domain, records: map[string][]record{}, parents: map[string]bool{}}
	z.add(record{name: "dns-version." + domain, kind: kindTXT, target: specVersion})
	z.parent("svc." + domain)
	bySvc := map[serviceKey][]*discoveryv1.EndpointSlice{}
	for _, s := range eps {
		if name := s.Labels[discoveryv1.LabelServiceName]; name != "" && s.AddressType == discoveryv1.AddressTypeIPv4 {
			key := serviceKey{s.Namespace, name}
			bySvc[key] = append(bySvc[key], s)
		}
	}
	for _, s := range services {
		name := strings.ToLower(s.Name + "." + s.Namespace + ".svc." + domain)
		switch {
		case s.Spec.Type == corev1.ServiceTypeExternalName:
			if target := strings.ToLower(strings.TrimSuffix(s.Spec.ExternalName, ".")); target != "" {
				z.add(record{name: name, kind: kindCNAME, target: target + "."})
			}
		case s.Spec.ClusterIP == corev1.ClusterIPNone:
			z.addHeadless(name, s, bySvc[serviceKey{s.Namespace, s.Name}])
		default:
			z.addClusterIP(name, s)
		}
	}
	return z
}

func (z *zone) add(r record) {
	if slices.Contains(z.records[r.name], r) {
		return
	}
	z.records[r.name] = append(z.records[r.name], r)
	if _, above, ok := strings.Cut(r.name, "."); ok {
		z.parent(above)
	}
}

// parent notes that a name of the zone, and all above it, exist.
func (z *zone) parent(name string) {
	for z.contains(name) && !z.parents[name] {
		z.parents[name] = true
		_, name, _ = strings.Cut(name, ".")
	}
}

func (z *zone) contains(name string) bool {
	return name == z.domain || strings.HasSuffix(name, "."+z.domain)
}

func (z *zone) addClusterIP(name string, s *corev1.Service) {
	for _, text := range append([]string{s.Spec.ClusterIP}, s.Spec.ClusterIPs...) {
		ip, err := netip.ParseAddr(text)
		if err != nil || !ip.Is4() {
			continue
		}
		z.add(record{name: name, kind: kindA, addr: ip})
		z.add(record{name: reverse(ip), kind: kindPTR, target: name})
		for _, p := range s.Spec.Ports {
			z.addSRV(name, p.Name, string(p.Protocol), p.Port, name, 1)
		}
	}
}

// addHeadless makes the records of a Service without an address: its endpoints', each with a name of its own.
func (z *zone) addHeadless(name string, s *corev1.Service, eps []*discoveryv1.EndpointSlice) {
	z.parent(name) // the name exists also while no endpoint is ready
	total := 0
	for _, slice := range eps {
		total += len(slice.Endpoints)
	}
	for _, slice := range eps {
		for i := range slice.Endpoints {
			e := &slice.Endpoints[i]
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			if len(e.Addresses) == 0 || !ready && !s.Spec.PublishNotReadyAddresses {
				continue
			}
			ip, err := netip.ParseAddr(e.Addresses[0])
			if err != nil || !ip.Is4() {
				continue
			}
			host := strings.ReplaceAll(ip.String(), ".", "-")
			if e.Hostname != nil && *e.Hostname != "" {
				host = strings.ToLower(*e.Hostname)
			}
			own := host + "." + name
			z.add(record{name: name, kind: kindA, addr: ip})
			z.add(record{name: own, kind: kindA, addr: ip})
			z.add(record{name: reverse(ip), kind: kindPTR, target: own})
			for _, p := range slice.Ports {
				if p.Name == nil || p.Port == nil {
					continue
				}
				protocol := corev1.ProtocolTCP
				if p.Protocol != nil {
					protocol = *p.Protocol
				}
				z.addSRV(name, *p.Name, string(protocol), *p.Port, own, total)
			}
		}
	}
}

func (z *zone) addSRV(service, port, protocol string, number int32, target string, of int) {
	if port == "" || number < 1 || number > 65535 {
		return
	}
	if protocol == "" {
		protocol = string(corev1.ProtocolTCP)
	}
	const allWeight = 100
	z.add(record{
		name: "_" + strings.ToLower(port) + "._" + strings.ToLower(protocol) + "." + service, kind: kindSRV,
		target: target, port: uint16(number), weight: uint16(max(1, allWeight/max(1, of))),
	})
}

// reverse is the name under which the owner of an IPv4 address is asked for (RFC 1035, 3.5).
func reverse(ip netip.Addr) string {
	b := ip.As4()
	var s strings.Builder
	for i := len(b) - 1; i >= 0; i-- {
		s.WriteString(strconv.Itoa(int(b[i])))
		s.WriteByte('.')
	}
	return s.String() + reverseDomain
}

const reverseDomain = "in-addr.arpa."

// unreverse is the address that a reverse name asks for.
func unreverse(name string) (netip.Addr, bool) {
	digits, ok := strings.CutSuffix(name, "."+reverseDomain)
	if !ok {
		return netip.Addr{}, false
	}
	parts := strings.Split(digits, ".")
	slices.Reverse(parts)
	ip, err := netip.ParseAddr(strings.Join(parts, "."))
	return ip, err == nil && ip.Is4()
}

// find returns the records of a name, and whether the name exists at all.
func (z *zone) find(name string) (records []record, exists bool) {
	records = z.records[name]
	return records, len(records) > 0 || z.parents[name] || name == z.domain
}
