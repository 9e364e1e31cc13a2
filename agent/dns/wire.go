package dns

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

const (
	// ttl is short, because a Service's endpoints change; asking costs no network.
	ttl = 5
	// mostAliases bounds a chain of ExternalName Services.
	mostAliases = 8
)

// handle answers one question.
func (s *Server) handle(ctx context.Context, w dns.ResponseWriter, q *dns.Msg) {
	reply := s.answer(ctx, q)
	if opt := q.IsEdns0(); opt != nil && reply.IsEdns0() == nil {
		reply.SetEdns0(udpMost, opt.Do())
	}
	size := dns.MaxMsgSize
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size = dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = min(max(int(opt.UDPSize()), dns.MinMsgSize), udpMost)
		}
	}
	reply.Truncate(size)
	if err := w.WriteMsg(reply); err != nil {
		s.log.Debug("a DNS answer was not sent", "client", w.RemoteAddr(), "err", err)
	}
}

func (s *Server) answer(ctx context.Context, q *dns.Msg) *dns.Msg {
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	switch opt := q.IsEdns0(); {
	case q.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
		return reply
	case len(q.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
		return reply
	case opt != nil && opt.Version() != 0:
		reply.SetEdns0(udpMost, false)
		reply.Rcode = dns.RcodeBadVers
		return reply
	case q.Question[0].Qclass != dns.ClassINET:
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	name := strings.ToLower(q.Question[0].Name)
	z := s.zone.Load()
	if !s.answers(z, name) {
		return s.forward(ctx, q)
	}
	s.answerFromZone(ctx, z, reply, q, name)
	return reply
}

// answers reports whether a name is for this server alone to answer.
func (s *Server) answers(z *zone, name string) bool {
	if z.contains(name) {
		return true
	}
	if ip, ok := unreverse(name); ok {
		for _, p := range s.cfg.Internal {
			if p.Contains(ip) {
				return true
			}
		}
		_, known := z.find(name)
		return known
	}
	return false
}

func (s *Server) answerFromZone(ctx context.Context, z *zone, reply, q *dns.Msg, name string) {
	reply.Authoritative = true
	qtype := q.Question[0].Qtype
	for range mostAliases {
		records, exists := z.find(name)
		if !exists {
			reply.Rcode = dns.RcodeNameError
			break
		}
		alias := ""
		for _, r := range records {
			switch {
			case r.kind == kindCNAME && qtype != dns.TypeCNAME && qtype != dns.TypeANY:
				alias = r.target
				fallthrough
			case wireType(r.kind) == qtype || qtype == dns.TypeANY:
				reply.Answer = append(reply.Answer, toWire(r))
			}
			if r.kind == kindSRV && qtype == dns.TypeSRV {
				s.addTargets(z, reply, r.target)
			}
		}
		if name == z.domain {
			s.answerApex(reply, qtype)
		}
		if alias == "" {
			break
		}
		if name = alias; !z.contains(name) {
			s.follow(ctx, reply, q, name)
			return
		}
	}
	if len(reply.Answer) == 0 || reply.Rcode != dns.RcodeSuccess {
		reply.Ns = []dns.RR{s.soa()}
	}
}

// follow asks upstream for the target of an alias that leaves the cluster.
func (s *Server) follow(ctx context.Context, reply, q *dns.Msg, name string) {
	ask := q.Copy()
	ask.Question[0].Name = name
	up := s.forward(ctx, ask)
	reply.Answer = append(reply.Answer, up.Answer...)
	reply.Rcode, reply.Authoritative = up.Rcode, false
}

func (s *Server) addTargets(z *zone, reply *dns.Msg, target string) {
	for _, r := range z.records[target] {
		if r.kind != kindA {
			continue
		}
		rr := toWire(r)
		known := false
		for _, have := range reply.Extra {
			known = known || dns.IsDuplicate(have, rr)
		}
		if !known {
			reply.Extra = append(reply.Extra, rr)
		}
	}
}

func (s *Server) answerApex(reply *dns.Msg, qtype uint16) {
	switch qtype {
	case dns.TypeSOA:
		reply.Answer = append(reply.Answer, s.soa())
	case dns.TypeNS:
		ns := &dns.NS{Hdr: header(s.domain, dns.TypeNS), Ns: "ns.dns." + s.domain}
		reply.Answer = append(reply.Answer, ns)
	}
}

// soa goes with every negative answer and says for how long it may be believed (RFC 2308).
func (s *Server) soa() dns.RR {
	return &dns.SOA{
		Hdr: header(s.domain, dns.TypeSOA), Ns: "ns.dns." + s.domain, Mbox: "hostmaster." + s.domain,
		Serial: 1, Refresh: 7200, Retry: 1800, Expire: 86400, Minttl: ttl,
	}
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func wireType(k kind) uint16 {
	switch k {
	case kindA:
		return dns.TypeA
	case kindSRV:
		return dns.TypeSRV
	case kindCNAME:
		return dns.TypeCNAME
	case kindPTR:
		return dns.TypePTR
	}
	return dns.TypeTXT
}

func toWire(r record) dns.RR {
	h := header(r.name, wireType(r.kind))
	switch r.kind {
	case kindA:
		return &dns.A{Hdr: h, A: r.addr.AsSlice()}
	case kindSRV:
		return &dns.SRV{Hdr: h, Weight: r.weight, Port: r.port, Target: r.target}
	case kindCNAME:
		return &dns.CNAME{Hdr: h, Target: r.target}
	case kindPTR:
		return &dns.PTR{Hdr: h, Ptr: r.target}
	}
	return &dns.TXT{Hdr: h, Txt: []string{r.target}}
}

// own are the addresses that must not be asked upstream, or questions would go round for ever.
func (c Config) own() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	for _, a := range c.Addrs {
		out[a.Addr()] = true
	}
	return out
}
