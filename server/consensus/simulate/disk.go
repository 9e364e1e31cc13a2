package simulate

import (
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// The kinds of writes, at each of which a schedule can have a server crash.
const (
	writeEntries  = "append"
	writeCut      = "cut"
	writeTerm     = "term"
	writeVote     = "vote"
	writeSnapshot = "snapshot"
)

// platter is a server's disk. It outlives the processes that mount it, one at a time.
type platter struct {
	stored func(logs []*raft.Log, before *raft.Log) // told of every entry that is written

	mu        sync.Mutex
	rng       *rand.Rand // guarded by mu, like the rest
	now       *image     // what a process reads
	synced    *image     // what a power cut leaves in any case
	unsynced  []change   // from synced to now
	snapshots []*snapshot
	slow      time.Duration // at most, beyond what a healthy disk takes to sync
	stalled   time.Time     // nothing is synced before
	failing   bool          // the next write of entries or of a vote fails
	trap      string        // a kind of write
	sprung    func()        // called once when a write of that kind begins
}

const healthySync = 2 * time.Millisecond // at most

func newPlatter(rng *rand.Rand, stored func(logs []*raft.Log, before *raft.Log)) *platter {
	return &platter{stored: stored, rng: rng, now: &image{}, synced: &image{}}
}

// fault changes what the disk does next.
func (p *platter) fault(change func(*platter)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
}

// wipe empties the disk.
func (p *platter) wipe() {
	p.fault(func(p *platter) {
		p.now, p.synced, p.unsynced, p.snapshots = &image{}, &image{}, nil, nil
	})
}

// settle ends what a dead process has begun. The kernel writes what the process has written; a power cut leaves a
// beginning of it, and a transaction that is torn has a wrong checksum and is not there.
func (p *platter) settle(powerCut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := len(p.unsynced)
	if powerCut {
		kept = p.rng.IntN(kept + 1)
		p.snapshots = slices.DeleteFunc(p.snapshots, func(s *snapshot) bool { return !s.synced && p.rng.IntN(2) == 0 })
	}
	for _, do := range p.unsynced[:kept] {
		do(p.synced)
	}
	for _, s := range p.snapshots {
		s.synced = true
	}
	p.now, p.unsynced = p.synced.clone(), nil
	p.trap, p.failing = "", false
}

// mount is the disk as one process sees it. Once the process is dead, it goes on with an image of its own until its last
// goroutine has ended, and nobody else sees what it writes.
type mount struct {
	*platter
	view   *image // guarded by mu; platter.now while the process lives
	dead   <-chan struct{}
	writer chan struct{} // holds one token: one transaction at a time
}

func (p *platter) mount(dead <-chan struct{}) *mount {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := &mount{platter: p, view: p.now, dead: dead, writer: make(chan struct{}, 1)}
	m.writer <- struct{}{}
	return m
}

func (m *mount) isDead() bool {
	select {
	case <-m.dead:
		return true
	default:
		return false
	}
}

var errDisk = errors.New("input/output error")

// write carries out a transaction and returns when it is synced.
func (m *mount) write(kind string, do change) error {
	<-m.writer
	defer func() { m.writer <- struct{}{} }()
	wait, err := m.begin(kind, do)
	if err != nil {
		return err
	}
	if kind == writeEntries && bugs.On(bugs.AckBeforeSync) {
		return nil
	}
	m.sync(wait)
	return nil
}

// begin makes the change visible, and returns how long the disk takes to sync it.
func (m *mount) begin(kind string, do change) (time.Duration, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isDead() {
		do(m.view)
		return 0, nil
	}
	if m.failing && (kind == writeEntries || kind == writeVote) {
		m.failing = false
		return 0, errDisk
	}
	m.spring(kind)
	do(m.view)
	if kind != writeCut || !bugs.On(bugs.TruncationNotSynced) {
		m.unsynced = append(m.unsynced, do)
	}
	return m.syncTime(), nil
}

// spring lets the trap for a kind of write close.
func (m *mount) spring(kind string) {
	if m.trap == kind {
		m.trap = ""
		m.sprung()
	}
}

func (m *mount) syncTime() time.Duration {
	took := healthySync/10 + time.Duration(m.rng.Int64N(int64(healthySync+m.slow)))
	return max(took, time.Until(m.stalled))
}

// sync waits until what was written before is synced.
func (m *mount) sync(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-m.dead:
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.isDead() {
		return // settle has decided
	}
	for _, do := range m.unsynced {
		do(m.synced)
	}
	m.unsynced = nil
}
