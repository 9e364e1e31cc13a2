package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/seal"
)

// ErrMissingKey says that something in the folder was sealed with a key that the ring lacks; the error names it. The
// folder is not damaged: with the key it can be read.
var ErrMissingKey = errors.New("the data folder is sealed with a key that is not in the key ring")

// asDamage makes of an error of package seal one of this package.
func asDamage(err error) error {
	switch {
	case errors.Is(err, seal.ErrUnknownKey):
		return fmt.Errorf("%w: %w", ErrMissingKey, err)
	case errors.Is(err, seal.ErrTampered):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	default:
		return err
	}
}

// Sealed is a Storage of which the log and the snapshots are encrypted. Terms and votes are not.
type Sealed struct {
	Storage
	log       *sealedLog
	snapshots *sealedSnapshots
}

// Seal encrypts what s keeps with the ring that keys holds, also after another ring is swapped in. A ring must not lose
// a key that Needed names. Nothing of another cluster can be read. Verify must read the whole log before Needed is true.
func Seal(s Storage, keys *seal.Holder, cluster string) *Sealed {
	out := &Sealed{Storage: s}
	out.log = newSealedLog(s.Log, keys, cluster)
	out.snapshots = newSealedSnapshots(s.Snapshots, keys, cluster)
	out.Log, out.Snapshots = out.log, out.snapshots
	return out
}

// Needed returns the IDs of the keys without which the storage cannot be read, sorted; perhaps more, never fewer.
func (s *Sealed) Needed() ([]string, error) {
	ids, err := s.snapshots.needed()
	if err != nil {
		return nil, err
	}
	ids = append(ids, s.log.used.ids()...)
	ids = append(ids, s.log.keys.Ring().Primary()) // what is written next
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Missing returns the ErrMissingKey with which a snapshot could not be opened: the library goes on to an older one.
func (s *Sealed) Missing() error {
	s.snapshots.mu.Lock()
	defer s.snapshots.mu.Unlock()
	return s.snapshots.missing
}

// Reseal seals with the primary key what is sealed with others, while raft goes on. trans is raft's. An error leaves
// everything readable; it may be called again. One Reseal may run at a time.
func (s *Sealed) Reseal(ctx context.Context, trans raft.Transport) error {
	if err := s.snapshots.reseal(ctx, trans); err != nil {
		return fmt.Errorf("seal snapshots anew: %w", err)
	}
	if err := s.log.reseal(ctx); err != nil {
		return fmt.Errorf("seal the log anew: %w", err)
	}
	return nil
}
