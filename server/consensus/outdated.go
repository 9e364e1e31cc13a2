package consensus

import (
	"io"

	"github.com/hashicorp/raft"
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
