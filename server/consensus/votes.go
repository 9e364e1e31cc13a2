package consensus

import (
	"errors"

	"github.com/hashicorp/raft"
)

// A server may vote for a candidate that is no voter in its configuration, because the newest configuration that it
// knows may be one that was never committed (Ongaro's dissertation, section 4.2.3). The library refuses. Two changes of
// members by two leaders, neither committed, can then leave two servers of which each lacks the other, or knows it from
// before it was promoted, and no leader ever: the two methods below let such a candidate in where the library's other conditions do.

// vote lets a request for a vote pass the library's look at its configuration. It has none for requests without an ID,
// as they once were; everything that makes a vote safe comes after that.
func (in *incoming) vote(m *raft.RequestVoteRequest) {
	if in.stranger(m.ID) {
		m.ID = nil
	}
}

// errOldServer is what a server answers that is too old to know of pre-votes. The candidate goes on as if it were granted.
var errOldServer = errors.New("unexpected command")

// preVote answers a pre-vote of a stranger that could win: no leader is known here, and its log is not behind. It is
// false if raft has to answer.
func (in *incoming) preVote(rpc raft.RPC, m *raft.RequestPreVoteRequest) bool {
	if !in.stranger(m.ID) {
		return false
	}
	r := in.raft.Load()
	if _, leader := r.LeaderWithID(); leader != "" || m.Term <= r.CurrentTerm() || in.behind(r, m) {
		return false
	}
	rpc.Respond(nil, errOldServer)
	return true
}

// stranger tells whether a candidate is none of the voters that this server knows.
func (in *incoming) stranger(id []byte) bool {
	r := in.raft.Load()
	if r == nil || len(id) == 0 {
		return false
	}
	servers := r.GetConfiguration().Configuration().Servers
	for _, s := range servers {
		if string(s.ID) == string(id) && s.Suffrage == raft.Voter {
			return false
		}
	}
	return len(servers) > 0
}

// behind tells whether the candidate's log lacks something that this server's has.
func (in *incoming) behind(r *raft.Raft, m *raft.RequestPreVoteRequest) bool {
	var last raft.Log
	if in.logs.GetLog(r.LastIndex(), &last) != nil {
		return m.LastLogIndex < r.LastIndex() // the last entry is in a snapshot
	}
	return m.LastLogTerm < last.Term || m.LastLogTerm == last.Term && m.LastLogIndex < last.Index
}
