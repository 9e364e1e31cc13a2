package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// install has raft install the leader's snapshot, puts the log in order behind it, and then lets the leader know. Raft
// gets no other message before that, so that nothing is written to the log meanwhile.
//
// The library leaves an old log as it was (hashicorp/raft#697). If an entry of it conflicts with the snapshot's last
// one, everything that the leader sends afterwards is refused, and the snapshot is sent again for ever; what comes
// before the conflict would be sent to others, if this server led one day. If the log ends before the snapshot, what
// follows leaves a gap in it, which the next start would take for damage. Raft's rule is to discard such a log
// (figure 13, point 7). What is behind the snapshot's last entry goes when the leader sends others; see verified.
func (in *incoming) install(rpc raft.RPC, req *raft.InstallSnapshotRequest) {
	agrees, err := in.agrees(req) // afterwards the entry may be gone
	if err != nil {
		rpc.Respond(nil, err)
		return
	}
	answer, err := in.exchange(rpc.Command, rpc.Reader)
	if r, ok := answer.(*raft.InstallSnapshotResponse); ok && err == nil && r.Success && !agrees && !bugs.On(bugs.OldLogKept) {
		err = cut(in.logs, req.LastLogIndex)
	}
	rpc.Respond(answer, err)
}

// agrees tells whether the log has the snapshot's last entry, and so everything before it and nothing in conflict.
func (in *incoming) agrees(req *raft.InstallSnapshotRequest) (bool, error) {
	var entry raft.Log
	err := in.logs.GetLog(req.LastLogIndex, &entry)
	if errors.Is(err, raft.ErrLogNotFound) {
		return false, nil
	}
	return err == nil && entry.Term == req.LastLogTerm, err
}

// cut removes the log's entries up to one of them.
func cut(logs raft.LogStore, upTo uint64) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return err
	}
	last, err := logs.LastIndex()
	if err != nil || last == 0 || first > upTo {
		return err
	}
	return logs.DeleteRange(first, min(last, upTo))
}

// mendStart does at the start what a crash right after the installation of a snapshot has left undone: a log that does
// not reach the newest snapshot, or that conflicts with it, is emptied.
func mendStart(logs raft.LogStore, snapshots raft.SnapshotStore) error {
	if bugs.On(bugs.OldLogKept) {
		return nil
	}
	kept, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	last, err := logs.LastIndex()
	if err != nil || last == 0 || len(kept) == 0 {
		return err
	}
	newest := kept[0]
	var end, same raft.Log
	endErr, sameErr := logs.GetLog(last, &end), logs.GetLog(newest.Index, &same)
	switch {
	case last < newest.Index,
		endErr == nil && end.Term < newest.Term, // a leader that knew the snapshot's last entry wrote none of the later ones
		sameErr == nil && same.Term != newest.Term:
		return cut(logs, last)
	}
	return nil // what cannot be read is the business of the verification
}
