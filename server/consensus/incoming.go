package consensus

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// incoming is the way of other servers' messages to raft. Raft gets them one by one, from one goroutine.
type incoming struct {
	messages <-chan raft.RPC           // as they come in
	injected chan raft.RPC             // from elsewhere in this package
	consumer chan raft.RPC             // to raft
	logs     raft.LogStore             // raft's
	raft     atomic.Pointer[raft.Raft] // nil until it runs
	stop     <-chan struct{}
	wg       sync.WaitGroup
}

func newIncoming(messages <-chan raft.RPC, logs raft.LogStore, stop <-chan struct{}) *incoming {
	in := &incoming{
		messages: messages, injected: make(chan raft.RPC), consumer: make(chan raft.RPC), logs: logs, stop: stop,
	}
	in.wg.Go(in.pump)
	return in
}

// running tells of the raft that takes the messages.
func (in *incoming) running(r *raft.Raft) { in.raft.Store(r) }

// pump hands the messages from other servers on to raft. Nothing else does, so it knows what raft has seen.
func (in *incoming) pump() {
	for {
		select {
		case rpc := <-in.messages:
			in.deliver(rpc)
		case rpc := <-in.injected:
			in.deliver(rpc)
		case <-in.stop:
			return
		}
	}
}

func (in *incoming) deliver(rpc raft.RPC) {
	switch message := rpc.Command.(type) {
	case *raft.AppendEntriesRequest:
		if !bugs.On(bugs.NoCommitClamp) {
			clampCommit(message)
		}
		in.verified(message)
	case *raft.InstallSnapshotRequest:
		if in.have(message) && !bugs.On(bugs.OldSnapshotInstalled) {
			in.skip(rpc, message)
		} else {
			in.install(rpc, message)
		}
		return
	case *raft.RequestVoteRequest:
		if !bugs.On(bugs.StrangersRefused) {
			in.vote(message)
		}
	case *raft.RequestPreVoteRequest:
		if !bugs.On(bugs.StrangersRefused) && in.preVote(rpc, message) {
			return
		}
	}
	in.hand(rpc)
}

// hand gives raft a message. It is false if the transport is closed.
func (in *incoming) hand(rpc raft.RPC) bool {
	select {
	case in.consumer <- rpc:
		return true
	case <-in.stop:
		return false
	}
}

// exchange gives raft a message and returns its answer.
func (in *incoming) exchange(message any, rest io.Reader) (any, error) {
	answer := make(chan raft.RPCResponse, 1)
	if !in.hand(raft.RPC{Command: message, Reader: rest, RespChan: answer}) {
		return nil, raft.ErrRaftShutdown
	}
	select {
	case a := <-answer:
		return a.Response, a.Error
	case <-in.stop:
		return nil, raft.ErrRaftShutdown
	}
}

// clampCommit lowers the leader's commit index to the last entry that the message speaks of (Raft, figure 2). What
// this server has behind that entry may be of an old leader, and in conflict with what was committed.
func clampCommit(a *raft.AppendEntriesRequest) {
	last := a.PrevLogEntry
	if n := len(a.Entries); n > 0 {
		last = a.Entries[n-1].Index
	}
	a.LeaderCommitIndex = min(a.LeaderCommitIndex, last)
}

// inject gives raft a message that reached this server on another way than the library's. Nobody waits for the answer.
func (in *incoming) inject(message any) {
	select {
	case in.injected <- raft.RPC{Command: message, RespChan: make(chan raft.RPCResponse, 1)}:
	case <-in.stop:
	}
}
