package consensus

import (
	"errors"
	"fmt"

	"github.com/holt-project/holt/server/consensus/disk"
)

// What Propose, Linearize and the membership changes fail with; compare with errors.Is.
var (
	// ErrNotLeader says that another server leads, or none. Nothing was applied. The error is a *NotLeaderError.
	ErrNotLeader = errors.New("this server is not the leader")
	// ErrUnknownOutcome says that the ops may have been applied, or may be applied later.
	ErrUnknownOutcome = errors.New("the outcome of the write is unknown")
	// ErrNoQuorum says that no majority of servers answered in time. Nothing was applied.
	ErrNoQuorum = errors.New("no majority of the servers answered in time")
	// ErrOverloaded says that too many writes wait already. Nothing was applied.
	ErrOverloaded = errors.New("too many writes are waiting")
	// ErrTooLarge says that one proposal is over MaxProposal. Nothing was applied.
	ErrTooLarge = errors.New("the write is too large")
	// ErrClosed says that the node is closed or about to close. Nothing was applied.
	ErrClosed = errors.New("this server is shutting down")
	// ErrNameTaken says that a live server of the same name has another address.
	ErrNameTaken = errors.New("a live server has this name already")
	// ErrLeftBehind says that a server's data is of a history that the cluster has left, when it was recovered from
	// another server. Only an empty folder can join.
	ErrLeftBehind = errors.New("the data is of another history than the cluster's")
	// ErrNotMember says that no server of that name is in the cluster.
	ErrNotMember = errors.New("there is no such server in the cluster")
	// ErrLastVoter says that without the server there would be no voter.
	ErrLastVoter = errors.New("it is the last voter")
	// ErrQuorumAtRisk says that the live voters would be no majority any more.
	ErrQuorumAtRisk = errors.New("the cluster would lose its majority")
	// ErrNoHeir says that leadership cannot be handed to the server that was named, or to any if none was.
	ErrNoHeir = errors.New("leadership cannot be handed over")
	// ErrUnreachable says that the server that wants to join does not answer at its address.
	ErrUnreachable = errors.New("the server does not answer at its address")
)

// What Open fails with, apart from mistakes in its Config.
var (
	// ErrInUse says that another process holds the data folder.
	ErrInUse = disk.ErrInUse
	// ErrForeign says that the data folder belongs to another cluster or server.
	ErrForeign = errors.New("the data folder belongs to another cluster or server")
	// ErrDamaged says that the data folder cannot be read. Join with an empty folder to get the state from the
	// other servers.
	ErrDamaged = disk.ErrDamaged
	// ErrMissingKey says that the data folder is whole, but sealed with a key that Config.Keys lacks. The error names it.
	ErrMissingKey = disk.ErrMissingKey
)

// ErrDiverged says that this server's state is not what the log makes of it on the others. Open fails with it too, from
// then on.
var ErrDiverged = errors.New("the state of this server has diverged from that of the others: empty its data folder " +
	"and join again")

// NotLeaderError is ErrNotLeader with the leader, if it is known.
type NotLeaderError struct {
	// Leader and Address are the leader's name and address; empty if there is none.
	Leader, Address string
}

func (e *NotLeaderError) Error() string {
	if e.Leader == "" {
		return ErrNotLeader.Error() + ", and no leader is known"
	}
	return fmt.Sprintf("%v, %s at %s is", ErrNotLeader, e.Leader, e.Address)
}

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }
