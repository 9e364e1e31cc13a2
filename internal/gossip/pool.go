package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
)

// DefaultPort is where members listen, on TCP and UDP.
const DefaultPort = 7946

// Probing suits a LAN: a dead member is noticed within about a second and given up after about three.
const (
	probeInterval    = 500 * time.Millisecond
	probeTimeout     = 250 * time.Millisecond
	suspicionMult    = 4
	gossipInterval   = 100 * time.Millisecond
	pushPullInterval = 10 * time.Second
	rejoinInterval   = 2 * time.Second
	joinTimeout      = 2 * time.Second
	// maxJoins is how many members are joined at once.
	maxJoins = 16
	// reclaimAfter lets a restarted member come back with another address.
	reclaimAfter = time.Second
)

// keySize is the size of the key in bytes: AES-256.
const keySize = 32

// Config describes this member.
type Config struct {
	// Name is unique in the cluster: the role and the node's name, for example "agent/worker-1".
	Name string
	// Address is what the others reach this member at; Port is DefaultPort if zero.
	Address string
	Port    int
	// Key encrypts everything: 32 bytes.
	Key []byte
}

// MemberName is the name under which a node of a role is in the pool.
func MemberName(role, node string) string { return role + "/" + node }

// Pool is this process's membership.
type Pool struct {
	list *memberlist.Memberlist
	log  *slog.Logger
	port string // of members whose address has none

	mu      sync.Mutex
	alive   map[string]string    // addresses by name; the library changes those of its own list while it is read
	seen    map[string]bool      // by name: has ever been alive
	lost    map[string]time.Time // by name: when it was given up last
	changed chan struct{}        // closed and replaced at every change
}

// Start opens the sockets and begins a pool of one. Run makes it find the others.
func Start(c Config, log *slog.Logger) (*Pool, error) {
	if len(c.Key) != keySize { // without a key the library would talk in the clear
		return nil, fmt.Errorf("gossip: the key has %d bytes, not %d", len(c.Key), keySize)
	}
	p := &Pool{log: log, alive: map[string]string{}, seen: map[string]bool{}, lost: map[string]time.Time{}, changed: make(chan struct{})}
	m := memberlist.DefaultLANConfig()
	m.Name = c.Name
	m.BindAddr, m.AdvertiseAddr = c.Address, c.Address
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	m.BindPort, m.AdvertisePort = c.Port, c.Port
	p.port = strconv.Itoa(c.Port)
	m.SecretKey = c.Key
	m.TCPTimeout = joinTimeout
	m.ProbeInterval, m.ProbeTimeout, m.SuspicionMult = probeInterval, probeTimeout, suspicionMult
	m.GossipInterval, m.PushPullInterval = gossipInterval, pushPullInterval
	m.DeadNodeReclaimTime = reclaimAfter
	m.Events = (*events)(p)
	m.Logger = nil
	m.LogOutput = logWriter{log}
	list, err := memberlist.Create(m)
	if err != nil {
		return nil, fmt.Errorf("gossip on %s: %w", net.JoinHostPort(c.Address, strconv.Itoa(c.Port)), err)
	}
	p.list = list
	return p, nil
}

// Run joins the members at the addresses that known returns, and joins them again whenever one of them is missing,
// until ctx ends. Addresses are hosts with or without a port.
func (p *Pool) Run(ctx context.Context, known func() []string) {
	t := time.NewTicker(rejoinInterval)
	defer t.Stop()
	for {
		p.join(ctx, p.missing(known()))
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// join asks several at once: one that is dead takes joinTimeout, and must keep nobody else waiting.
func (p *Pool) join(ctx context.Context, addresses []string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxJoins)
	for _, address := range addresses {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if _, err := p.list.Join([]string{address}); err != nil {
				p.log.Debug("gossip: a member could not be joined", "address", address, "error", err)
			}
		})
	}
}

// missing returns those of the known addresses, completed by the port, at which no member is.
func (p *Pool) missing(known []string) []string {
	here := map[string]bool{}
	p.mu.Lock()
	for _, address := range p.alive {
		here[address] = true
	}
	p.mu.Unlock()
	var missing []string
	for _, address := range known {
		if _, _, err := net.SplitHostPort(address); err != nil {
			address = net.JoinHostPort(address, p.port)
		}
		if !here[address] {
			here[address] = true // once is enough
			missing = append(missing, address)
		}
	}
	return missing
}

// Alive reports whether the member of that name lives as far as the pool knows.
func (p *Pool) Alive(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.alive[name]
	return ok
}

// Seen reports whether the member of that name has lived at any time since Start.
func (p *Pool) Seen(name string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen[name]
}

// LostAt is when the member of that name was given up last; zero if it never was.
func (p *Pool) LostAt(name string) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lost[name]
}

// Changed is closed when a member comes or goes.
func (p *Pool) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.changed
}

// Close leaves without a farewell, as in a crash: a process that restarts is not to be missed.
func (p *Pool) Close() error { return p.list.Shutdown() }

// Leave tells the others that this member does not come back, so that its name is free at once. Close is still needed.
func (p *Pool) Leave() error { return p.list.Leave(joinTimeout) }

// set notes that the member lives at the address, or died if that is empty.
func (p *Pool) set(name, address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if address != "" {
		p.alive[name], p.seen[name] = address, true
	} else {
		delete(p.alive, name)
		p.lost[name] = time.Now()
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// events receives memberlist's callbacks, which hold its lock over the node.
type events Pool

func (e *events) NotifyJoin(n *memberlist.Node)   { (*Pool)(e).set(n.Name, n.Address()) }
func (e *events) NotifyLeave(n *memberlist.Node)  { (*Pool)(e).set(n.Name, "") }
func (e *events) NotifyUpdate(n *memberlist.Node) { (*Pool)(e).set(n.Name, n.Address()) }

// logWriter takes memberlist's lines, which are for whoever debugs it.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	w.log.Debug("gossip", "line", string(line))
	return len(line), nil
}
