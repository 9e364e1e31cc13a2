package consensus

import (
	"errors"
	"io"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// have tells whether everything in the snapshot is applied here already. A message that was held up on its way can
// arrive when its sender has long sent another. The library would turn the state back to it; then reads that wait for
// nothing more show the past, and entries that have been cut from the log since are missing, which ends the process.
func (in *incoming) have(m *raft.InstallSnapshotRequest) bool {
	r := in.raft.Load()
	if r == nil {
		return false // raft has not started, and takes no message either
	}
	in.catchUp()
	return m.LastLogIndex <= r.AppliedIndex() && m.Term >= r.CurrentTerm()
}

// catchUp returns when raft has dealt with every message before. It sends one that changes nothing: nobody of no name
// asks for a vote in no term.
func (in *incoming) catchUp() {
	_, _ = in.exchange(&raft.RequestPreVoteRequest{
		RPCHeader: raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax},
	}, nil) // an error is for whoever asks
}

// skip answers the snapshot as if it were installed. What this server has up to there is the same.
func (in *incoming) skip(rpc raft.RPC, m *raft.InstallSnapshotRequest) {
	in.wg.Go(func() {
		_, err := io.Copy(io.Discard, rpc.Reader) // else the rest of it would be taken for the next message
		rpc.Respond(&raft.InstallSnapshotResponse{Term: m.Term, Success: err == nil}, err)
	})
}

// verified spares raft the look at the entry before the message's first one, if that is applied here and no longer in
// the log. The library refuses such a message even if its own snapshot ends with that entry, and then the leader goes
// back to ever older entries, at last to a snapshot of what this server has already. A leader of this term or a later
// one has every entry that is applied anywhere, so the two agree there.
func (in *incoming) verified(m *raft.AppendEntriesRequest) {
	r := in.raft.Load()
	if r == nil || bugs.On(bugs.OldLogKept) || m.PrevLogEntry == 0 || m.Term < r.CurrentTerm() {
		return
	}
	applied := r.AppliedIndex()
	var previous raft.Log
	if m.PrevLogEntry > applied || !errors.Is(in.logs.GetLog(m.PrevLogEntry, &previous), raft.ErrLogNotFound) {
		return
	}
	for len(m.Entries) > 0 && m.Entries[0].Index <= applied {
		m.Entries = m.Entries[1:]
	}
	m.PrevLogEntry, m.PrevLogTerm = 0, 0 // raft looks no further
}
