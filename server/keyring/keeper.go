package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus"
)

// The pause before a failed step is tried again grows from the first to the second.
const (
	minRetry = 200 * time.Millisecond
	maxRetry = 5 * time.Second
)

// Errors of Rotate and Drop; compare with errors.Is.
var (
	// ErrUnavailable says that the change could not be made now. Nothing was changed, unless consensus says otherwise.
	ErrUnavailable = errors.New("the key ring cannot be changed now")
	// ErrNeeded says that a key cannot be dropped, because it is in use or may be.
	ErrNeeded = errors.New("the key is still needed")
	// ErrUnknown says that the cluster has no such key.
	ErrUnknown = errors.New("the cluster has no such key")
)

// Store is this server's copy of the state.
type Store interface {
	View() fsm.View
	WaitChange(ctx context.Context, revision uint64, resources ...string) error
}

// Cluster is the Raft group.
type Cluster interface {
	Linearize(ctx context.Context) error
	Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error)
	Members() []consensus.Member
	Leader() (name, address string, self bool)
}

// Disk is what this server keeps, sealed with the ring.
type Disk interface {
	// KeysNeeded returns the keys without which the disk cannot be read; perhaps more, never fewer.
	KeysNeeded() ([]string, error)
	// Reseal seals with the primary key what is sealed with others.
	Reseal(ctx context.Context) error
}

// Config is what a Keeper works with.
type Config struct {
	// Name is this server's.
	Name string
	// Path is the ring file.
	Path string
	// Keys is the ring that the disk is sealed with. Only the Keeper swaps it.
	Keys    *seal.Holder
	Store   Store
	Cluster Cluster
	Disk    Disk
	// Encode makes the stored form of a Secret.
	Encode func(fsm.Value) ([]byte, error)
	// Transport reaches the other servers, with this server's certificate.
	Transport http.RoundTripper
	Log       *slog.Logger
}

// Keeper keeps a server's key ring as the cluster lists it.
type Keeper struct {
	Config
	peers peers

	// changes is held while the ring is changed: in the file first, then in Keys.
	changes sync.Mutex
	settled uint64 // the listing's revision that this server has followed to the end; Run's own
}

// New makes a Keeper. Run makes it work.
func New(c Config) *Keeper {
	return &Keeper{Config: c, peers: peers{client: &http.Client{Transport: c.Transport, Timeout: peerTimeout}}}
}

// Run follows the listing until ctx ends. It begins when this server has caught up with the others: an old listing,
// replayed, must not bring back an old key.
func (k *Keeper) Run(ctx context.Context) {
	defer k.peers.client.CloseIdleConnections()
	k.again(ctx, k.Cluster.Linearize)
	for ctx.Err() == nil {
		seen := k.Store.View().Revision()
		k.again(ctx, k.follow)
		_ = k.Store.WaitChange(ctx, seen, secretKey.Resource) // it fails with ctx only
	}
}

// again does a step until it succeeds or ctx ends. A change of Secrets cuts the pause short.
func (k *Keeper) again(ctx context.Context, step func(context.Context) error) {
	for retry := minRetry; ctx.Err() == nil; retry = min(2*retry, maxRetry) {
		seen := k.Store.View().Revision()
		err := step(ctx)
		if err == nil {
			return
		}
		k.report(ctx, err, retry)
		wait, cancel := context.WithTimeout(ctx, retry)
		_ = k.Store.WaitChange(wait, seen, secretKey.Resource) // it fails with wait only
		cancel()
	}
}

// report warns of what does not end by itself.
func (k *Keeper) report(ctx context.Context, err error, retry time.Duration) {
	level := slog.LevelDebug
	if retry == maxRetry {
		level = slog.LevelWarn
	}
	k.Log.Log(ctx, level, "the key ring is not as the cluster lists it yet; it is tried again", "error", err)
}

// follow makes this server's ring and disk what the listing says.
func (k *Keeper) follow(ctx context.Context) error {
	l := load(k.Store.View())
	if l.secret == nil || l.revision == k.settled {
		return nil
	}
	all, err := k.adopt(ctx, l)
	if err != nil {
		return err
	}
	if len(l.Listing) == 0 || !k.Keys.Ring().Has(l.Listing[0].ID) {
		return k.relist(ctx, l, all)
	}
	needed, err := k.reseal(ctx)
	if err != nil {
		return err
	}
	if err := k.prune(l, needed); err != nil {
		return err
	}
	if len(needed) > 1 {
		return fmt.Errorf("something is still sealed with one of the keys %v", needed)
	}
	k.settled = l.revision
	return nil
}

// adopt takes the listed keys into the ring, in their order. all is false if a server could not be asked for one.
func (k *Keeper) adopt(ctx context.Context, l listed) (all bool, err error) {
	wanted := slices.DeleteFunc(l.IDs(), k.Keys.Ring().Has)
	fetched, all := k.peers.rings(ctx, k.others(), wanted)
	return all, k.change(func(ring seal.Ring) (seal.Ring, error) {
		ring, err := ring.With(fetched)
		return ring.First(l.IDs()...), err
	})
}

// relist makes the leader list its own ring when no server has the listed primary key: that is lost, or the state was
// restored from a backup of another time. Nothing is sealed with a key that no server has.
func (k *Keeper) relist(ctx context.Context, l listed, all bool) error {
	_, _, self := k.Cluster.Leader()
	if !all || !self {
		return fmt.Errorf("no server that answers has the listed primary key; listed are %v", l.IDs())
	}
	own := ListingOf(k.Keys.Ring())
	k.Log.Warn("no server has the listed primary key; this server's keys are listed instead", "listed", l.IDs(), "own", own.IDs())
	return k.propose(ctx, l, own)
}

// reseal seals anew what is sealed with another key than the primary one, and returns the keys that are needed then.
func (k *Keeper) reseal(ctx context.Context) ([]string, error) {
	needed, err := k.Disk.KeysNeeded()
	if err != nil || len(needed) <= 1 {
		return needed, err
	}
	began := time.Now()
	if err := k.Disk.Reseal(ctx); err != nil {
		return nil, err
	}
	k.Log.Info("what this server keeps is sealed anew", "key", k.Keys.Ring().Primary(), "took", time.Since(began))
	return k.Disk.KeysNeeded()
}

// prune takes out of the ring what is neither listed nor needed. A key that is newer than the listed ones may be about
// to be listed.
func (k *Keeper) prune(l listed, needed []string) error {
	return k.change(func(ring seal.Ring) (seal.Ring, error) {
		var keep []string
		for _, key := range ring.Keys() {
			if l.has(key.ID) || slices.Contains(needed, key.ID) || key.Created.After(l.Listing[0].Created) {
				keep = append(keep, key.ID)
			}
		}
		return ring.Only(keep...), nil
	})
}

// change makes next of the ring: in the file first, so that nothing is sealed with a key that could be lost.
func (k *Keeper) change(next func(seal.Ring) (seal.Ring, error)) error {
	k.changes.Lock()
	defer k.changes.Unlock()
	return k.changeLocked(next)
}

func (k *Keeper) changeLocked(next func(seal.Ring) (seal.Ring, error)) error {
	present := k.Keys.Ring()
	ring, err := next(present)
	if err != nil || ring.Equal(present) {
		return err
	}
	if err := save(k.Path, ring); err != nil {
		return err
	}
	k.Keys.Swap(ring)
	return nil
}

func (k *Keeper) others() []consensus.Member {
	return slices.DeleteFunc(k.Cluster.Members(), func(m consensus.Member) bool { return m.Name == k.Name })
}
