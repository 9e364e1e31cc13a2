package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
	"github.com/holt-project/holt/server/consensus"
)

// Rotate makes a new key the primary one of the cluster, and returns its ID. It is done on the leader. The servers take it
// over one after the other; Report shows how far they are.
func (k *Keeper) Rotate(ctx context.Context, now time.Time) (string, error) {
	if err := k.lead(ctx); err != nil {
		return "", err
	}
	k.changes.Lock() // until the key is listed, so that it is not pruned before
	defer k.changes.Unlock()
	var id string
	err := k.changeLocked(func(ring seal.Ring) (seal.Ring, error) {
		next, err := ring.Add(now)
		id = next.Primary()
		return next.First(ring.IDs()...), err // the others can fetch it; nothing is sealed with it yet
	})
	if err != nil {
		return "", err
	}
	l := load(k.Store.View())
	return id, k.propose(ctx, l, slices.Concat(ListingOf(k.Keys.Ring().Only(id)), l.Listing))
}

// Drop takes a key out of the cluster's ring. It is done on the leader. It fails with ErrNeeded if the key is the primary
// one, or if any server needs it or cannot be asked.
func (k *Keeper) Drop(ctx context.Context, id string) error {
	if err := k.lead(ctx); err != nil {
		return err
	}
	l := load(k.Store.View())
	at := slices.Index(l.IDs(), id)
	switch {
	case at < 0:
		return fmt.Errorf("%w: %s", ErrUnknown, id)
	case at == 0:
		return fmt.Errorf("%w: %s is the primary key: make a new one with `holt keys rotate` first", ErrNeeded, id)
	}
	var reasons []string
	for _, s := range k.servers(ctx) {
		switch {
		case s.Error != "":
			reasons = append(reasons, fmt.Sprintf("server %s cannot be asked (%s): start it, or remove it from the cluster", s.Name, s.Error))
		case slices.Contains(s.Needed, id):
			reasons = append(reasons, fmt.Sprintf("server %s still has something that is sealed with it; it is being sealed anew", s.Name))
		case s.Primary != l.Listing[0].ID:
			reasons = append(reasons, fmt.Sprintf("server %s has not taken the primary key over yet", s.Name))
		}
	}
	if len(reasons) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrNeeded, id, strings.Join(reasons, "; "))
	}
	return k.propose(ctx, l, slices.Delete(slices.Clone(l.Listing), at, at+1))
}

// lead makes sure that this server leads, and sees everything that was written.
func (k *Keeper) lead(ctx context.Context) error {
	if _, _, self := k.Cluster.Leader(); !self {
		return fmt.Errorf("%w: this server does not lead", ErrUnavailable)
	}
	if err := k.Cluster.Linearize(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// propose replaces the listing.
func (k *Keeper) propose(ctx context.Context, l listed, next Listing) error {
	op, err := l.op(next, k.Encode)
	if err != nil {
		return err
	}
	results, err := k.Cluster.Propose(ctx, []fsm.Op{op})
	if errors.Is(err, consensus.ErrUnknownOutcome) {
		return err
	}
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
