package consensus

import (
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// installed waits until raft has installed the leader's snapshot, puts the log in order behind it, and then lets the
// leader know. Its goroutine belongs to t.wg.
//
// The library leaves an old log as it was (hashicorp/raft#697). If an entry of it conflicts with the snapshot's last
// one, everything that the leader sends afterwards is refused, and the snapshot is sent again for ever; Raft's rule is to
// discard that log (figure 13, point 7). If the log ends before the snapshot, what follows leaves a gap in it, which
// the next start would take for damage.
func (t *transport) installed(rpc raft.RPC, req *raft.InstallSnapshotRequest) raft.RPC {
	answer := make(chan raft.RPCResponse, 1)
	watched := rpc
	watched.RespChan = answer
	t.wg.Go(func() {
		select {
		case a := <-answer:
			if r, ok := a.Response.(*raft.InstallSnapshotResponse); ok && a.Error == nil && r.Success {
				a.Error = t.mendLog(req)
			}
			rpc.Respond(a.Response, a.Error)
		case <-t.stop:
		}
	})
	return watched
}

// mendLog makes the log agree with the snapshot of req, which raft has installed.
func (t *transport) mendLog(req *raft.InstallSnapshotRequest) error {
	last, err := t.logs.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	if last < req.LastLogIndex {
		return cut(t.logs) // all of it is in the snapshot
	}
	var entry raft.Log
	err = t.logs.GetLog(req.LastLogIndex, &entry)
	if errors.Is(err, raft.ErrLogNotFound) || err == nil && entry.Term == req.LastLogTerm {
		return nil
	}
	if err != nil {
		return err
	}
	return t.truncate(req)
}

// truncate makes raft discard its log from the snapshot's last entry on, by a message in which that entry is of the
// right term. What the entry says does not matter: the state has it from the snapshot, and it is never applied.
func (t *transport) truncate(req *raft.InstallSnapshotRequest) error {
	answer := make(chan raft.RPCResponse, 1)
	message := &raft.AppendEntriesRequest{
		RPCHeader: req.RPCHeader, Term: req.Term,
		Entries: []*raft.Log{{Index: req.LastLogIndex, Term: req.LastLogTerm, Type: raft.LogNoop}},
	}
	select {
	case t.consumer <- raft.RPC{Command: message, RespChan: answer}:
	case <-t.stop:
		return raft.ErrRaftShutdown
	}
	select {
	case a := <-answer:
		return a.Error
	case <-t.stop:
		return raft.ErrRaftShutdown
	}
}

// cut empties the log.
func cut(logs raft.LogStore) error {
	first, err := logs.FirstIndex()
	if err != nil {
		return err
	}
	last, err := logs.LastIndex()
	if err != nil || last == 0 {
		return err
	}
	return logs.DeleteRange(first, last)
}

// mendStart does at the start what a crash right after the installation of a snapshot has left undone: a log that does
// not reach the newest snapshot, or that conflicts with it, is emptied.
func mendStart(logs raft.LogStore, snapshots raft.SnapshotStore) error {
	kept, err := snapshots.List()
	if err != nil {
		return fmt.Errorf("list the snapshots: %w", err)
	}
	last, err := logs.LastIndex()
	if err != nil || last == 0 || len(kept) == 0 {
		return err
	}
	newest := kept[0]
	var entry raft.Log
	err = logs.GetLog(last, &entry)
	if last < newest.Index || err == nil && entry.Term < newest.Term {
		return cut(logs) // a leader that knew the snapshot's last entry wrote none of the later ones
	}
	return nil // what cannot be read is the business of the verification
}
