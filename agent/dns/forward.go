package dns

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// Clients wait 5 s by default: two upstreams must fit.
	forwardTimeout = 2 * time.Second
	forwardTotal   = 9 * time.Second
	// reread is how old the list of upstreams may be before the file is looked at.
	reread = time.Second
	// shunned is how long an upstream that failed is asked after all others.
	shunned = 10 * time.Second
)

// upstreams are the node's own resolvers. Its methods may be called concurrently.
type upstreams struct {
	path string
	own  map[netip.Addr]bool

	mu      sync.Mutex
	looked  time.Time                // guarded by mu; when the file was looked at
	changed time.Time                // guarded by mu; the file's time of change then
	size    int64                    // guarded by mu; the file's size then
	servers []netip.Addr             // guarded by mu; never changed in place
	failed  map[netip.Addr]time.Time // guarded by mu
}

func newUpstreams(cfg Config) *upstreams {
	return &upstreams{path: cfg.ResolvConf, own: cfg.own(), failed: map[netip.Addr]time.Time{}}
}

// list gives the resolvers in the order to ask: as in the file, but those that failed a moment ago last.
func (u *upstreams) list() []netip.Addr {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if now.Sub(u.looked) >= reread {
		u.looked = now
		u.read()
	}
	out := slices.Clone(u.servers)
	rank := func(a netip.Addr) int {
		if at, ok := u.failed[a]; ok && now.Sub(at) < shunned {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b netip.Addr) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// read takes the file's resolvers if it has changed. A file that cannot be read leaves the last ones in place.
// The caller holds u.mu.
func (u *upstreams) read() {
	info, err := os.Stat(u.path)
	if err != nil || info.ModTime().Equal(u.changed) && info.Size() == u.size {
		return
	}
	raw, err := os.ReadFile(u.path)
	if err != nil {
		return
	}
	u.changed, u.size = info.ModTime(), info.Size()
	u.servers, u.failed = nil, map[netip.Addr]time.Time{}
	for _, a := range parseResolv(string(raw)).servers {
		if !u.own[a] {
			u.servers = append(u.servers, a)
		}
	}
}

func (u *upstreams) report(a netip.Addr, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if ok {
		delete(u.failed, a)
	} else {
		u.failed[a] = time.Now()
	}
}

// forward asks the upstreams in turn. It always returns an answer to q: SERVFAIL when none of them has one.
func (s *Server) forward(ctx context.Context, q *dns.Msg) *dns.Msg {
	failure := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	failure.RecursionAvailable = true
	select {
	case s.forwards <- struct{}{}:
		defer func() { <-s.forwards }()
	default:
		return failure
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTotal)
	defer cancel()
	for _, server := range s.upstreams.list() {
		reply, err := s.ask(ctx, q, server)
		s.upstreams.report(server, err == nil)
		if err != nil {
			s.log.Debug("a resolver did not answer", "resolver", server, "err", err)
			continue
		}
		if reply.Rcode == dns.RcodeServerFailure || reply.Rcode == dns.RcodeRefused {
			failure = reply
			continue
		}
		return reply
	}
	return failure
}

// ask puts the question to one upstream, over TCP when its answer does not fit into UDP.
func (s *Server) ask(ctx context.Context, q *dns.Msg, server netip.Addr) (*dns.Msg, error) {
	reply, err := s.exchange(ctx, "udp", q, server)
	if err == nil && reply.Truncated {
		reply, err = s.exchange(ctx, "tcp", q, server)
	}
	return reply, err
}

func (s *Server) exchange(ctx context.Context, network string, q *dns.Msg, server netip.Addr) (*dns.Msg, error) {
	client := &dns.Client{Net: network, Timeout: forwardTimeout}
	// A number of our own: what a client chose, another could guess.
	ask := q.Copy()
	ask.Id = dns.Id()
	ask.RecursionDesired = true
	var conn *dns.Conn
	err := s.cfg.Enter(func() (err error) {
		conn, err = client.DialContext(ctx, net.JoinHostPort(server.String(), "53"))
		return err
	})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	reply, _, err := client.ExchangeWithConnContext(ctx, ask, conn)
	if err != nil {
		return nil, err
	}
	if !reply.Response || len(reply.Question) != 1 || reply.Question[0].Qtype != ask.Question[0].Qtype ||
		!strings.EqualFold(reply.Question[0].Name, ask.Question[0].Name) {
		return nil, dns.ErrId
	}
	reply.Id, reply.Question = q.Id, q.Question
	return reply, nil
}
