package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/google/uuid"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/internal/seal"
)

const (
	// pieceSize is what one entry of the log carries of a snapshot: well below what would keep a slow follower busy.
	pieceSize = 512 << 10
	// replaceTimeout bounds the wait for the one entry that takes long to apply, dropTimeout that for giving up.
	replaceTimeout = 5 * time.Minute
	dropTimeout    = 5 * time.Second
)

// What a restore is refused for; compare with errors.Is.
var (
	// ErrBusy says that another restore is under way.
	ErrBusy = errors.New("another restore is under way: try again when it has ended")
	// ErrOtherRanges says that the addresses in the snapshot would not be this cluster's.
	ErrOtherRanges = errors.New("the snapshot is of a cluster with other address ranges")
	// ErrNewer says that the snapshot may hold what this version would lose.
	ErrNewer = errors.New("the snapshot is of a newer version of Kubernetes' API than this cluster serves: upgrade it first")
	// ErrUnsuitable says that the state machine refused the snapshot, and why.
	ErrUnsuitable = errors.New("the snapshot cannot be restored here")
)

// Log is the replicated log, as its leader writes it.
type Log interface {
	ProposeCommand(ctx context.Context, c fsm.Encoder) (fsm.Result, error)
}

// Restorer brings files back into the running cluster. It works on the leader alone.
type Restorer struct {
	log  Log
	ring func() seal.Ring
	here Header
	keep []fsm.Selection

	mu sync.Mutex // held by the one restore that is under way
}

// NewRestorer makes a restorer. here is the header that this cluster's own files have; keep selects what stays as it is,
// because it is what makes the running cluster this one.
func NewRestorer(log Log, ring func() seal.Ring, here Header, keep []fsm.Selection) *Restorer {
	return &Restorer{log: log, ring: ring, here: here, keep: keep}
}

// Restore replaces the cluster's state by that of the file. After an error the state is as before, except after
// consensus.ErrUnknownOutcome of the last step: then it is the old one or the new one, whole.
func (r *Restorer) Restore(ctx context.Context, file io.Reader) (fsm.Replaced, error) {
	if !r.mu.TryLock() {
		return fsm.Replaced{}, ErrBusy
	}
	defer r.mu.Unlock()
	f, err := Open(file)
	if err != nil {
		return fsm.Replaced{}, err
	}
	if err := r.suits(f.Header); err != nil {
		return fsm.Replaced{}, err
	}
	body, err := f.Body(r.ring())
	if err != nil {
		return fsm.Replaced{}, err
	}
	id := uuid.NewString()
	var done fsm.Replaced
	size, err := r.stage(ctx, id, body)
	if err == nil {
		done, err = r.replace(ctx, fsm.Replace{ID: id, Size: size, Keep: r.keep})
	}
	if err != nil {
		_ = r.Drop(context.WithoutCancel(ctx), id) // if it fails, the next leader does it
	}
	return done, err
}

// suits refuses what would come back as something else than it was.
func (r *Restorer) suits(h Header) error {
	if h.ClusterCIDR != r.here.ClusterCIDR || h.ServiceCIDR != r.here.ServiceCIDR {
		return fmt.Errorf("%w: pods %s and Services %s, not %s and %s: begin a cluster with --cluster-cidr and --service-cidr of the snapshot",
			ErrOtherRanges, h.ClusterCIDR, h.ServiceCIDR, r.here.ClusterCIDR, r.here.ServiceCIDR)
	}
	theirs, err := version.ParseGeneric(h.Kubernetes)
	if err != nil {
		return fmt.Errorf("%w: its version of Kubernetes is %q", ErrDamaged, h.Kubernetes)
	}
	ours, err := version.ParseGeneric(r.here.Kubernetes)
	if err != nil {
		return err
	}
	if theirs.Major() > ours.Major() || theirs.Major() == ours.Major() && theirs.Minor() > ours.Minor() {
		return fmt.Errorf("%w: %s, and not %s", ErrNewer, h.Kubernetes, r.here.Kubernetes)
	}
	return nil
}

// stage brings the body into the log, piece by piece, and returns its size. When it returns without an error, all of the
// file has been read and found to be sound.
func (r *Restorer) stage(ctx context.Context, id string, body io.Reader) (uint64, error) {
	piece := make([]byte, pieceSize)
	var size uint64
	for {
		n, err := io.ReadFull(body, piece)
		if n > 0 {
			res, failed := r.log.ProposeCommand(ctx, fsm.Stage{ID: id, Offset: size, Data: piece[:n]})
			if failed = errors.Join(failed, res.Err); failed != nil {
				return size, failed
			}
			size += uint64(n)
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // ReadFull's: the body ends in this piece
			return size, nil
		case err != nil:
			return size, err
		}
	}
}

func (r *Restorer) replace(ctx context.Context, c fsm.Replace) (fsm.Replaced, error) {
	ctx, cancel := context.WithTimeout(ctx, replaceTimeout)
	defer cancel()
	res, err := r.log.ProposeCommand(ctx, c)
	switch {
	case err != nil:
		return fsm.Replaced{}, err
	case errors.Is(res.Err, fsm.ErrNotStaged):
		return fsm.Replaced{}, res.Err
	case res.Err != nil:
		return fsm.Replaced{}, fmt.Errorf("%w: %w", ErrUnsuitable, res.Err)
	}
	return *res.Replaced, nil
}

// Drop gives up the restore of that ID, which a leader that has gone has left behind; empty is none.
func (r *Restorer) Drop(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	_, err := r.log.ProposeCommand(ctx, fsm.Stage{ID: id, Drop: true})
	return err
}
