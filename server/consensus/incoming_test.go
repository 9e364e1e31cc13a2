package consensus

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// TestLateSnapshot sends a snapshot again that was installed long ago, as a message does that was held up on its way. Its
// second arrival changes nothing: what came after it stays, and goes on.
func TestLateSnapshot(t *testing.T) {
	store := raft.NewInmemStore()
	f := follow(t, store, true)
	f.install(t, 5, 3, 4)
	if !f.append(t, 5, 3, 4, entryOf(4, 5), entryOf(5, 5)) {
		t.Fatal("what follows the snapshot is refused")
	}
	f.install(t, 5, 8, 5)
	f.install(t, 5, 3, 4)
	if !f.append(t, 5, 8, 5, entryOf(9, 5)) {
		t.Error("what follows the newer snapshot is refused after the older one has come again")
	}
	if last, err := store.LastIndex(); err != nil || last != 9 {
		t.Errorf("the log ends at %d, %v", last, err)
	}
}

// TestLeaderThatHasGoneBackTooFar sends entries from before the end of the follower's snapshot, behind which it has
// others already. The library refuses them, and is sent the snapshot again.
func TestLeaderThatHasGoneBackTooFar(t *testing.T) {
	f := follow(t, raft.NewInmemStore(), true)
	f.install(t, 5, 8, 5)
	if !f.append(t, 5, 8, 5, entryOf(9, 5), entryOf(10, 5)) {
		t.Fatal("what follows the snapshot is refused")
	}
	for _, prev := range []uint64{6, 8} {
		var entries []*raft.Log
		for i := prev + 1; i <= 11; i++ {
			entries = append(entries, entryOf(i, 5))
		}
		if !f.append(t, 5, prev, 5, entries...) {
			t.Errorf("entries from %d on are refused", prev+1)
		}
	}
}

// TestStrangerIsElected asks for the vote of a server whose newest configuration, which may never have been committed,
// lacks the candidate.
func TestStrangerIsElected(t *testing.T) {
	f := follow(t, raft.NewInmemStore(), true)
	f.install(t, 5, 3, 4)
	f.header = raft.RPCHeader{ProtocolVersion: 3, ID: []byte("stranger"), Addr: []byte("stranger")}
	pre := func(last uint64) error {
		return f.leader.RequestPreVote("f", f.address, &raft.RequestPreVoteRequest{
			RPCHeader: f.header, Term: 6, LastLogIndex: last, LastLogTerm: 4,
		}, &raft.RequestPreVoteResponse{})
	}
	if err := pre(4); err != nil {
		t.Errorf("a pre-vote while there is a leader: %v", err)
	}
	if err := f.leader.TimeoutNow("f", f.address, &raft.TimeoutNowRequest{RPCHeader: f.header},
		&raft.TimeoutNowResponse{}); err != nil { // it forgets its leader
		t.Fatal(err)
	}
	var vote raft.RequestVoteResponse
	err := f.leader.RequestVote("f", f.address, &raft.RequestVoteRequest{
		RPCHeader: f.header, Term: 9, LastLogIndex: 4, LastLogTerm: 4,
	}, &vote)
	if err != nil || !vote.Granted {
		t.Errorf("vote: %+v, %v", vote, err)
	}
	for last, want := range map[uint64]error{2: nil, 4: errOldServer} {
		pre9 := f.leader.RequestPreVote("f", f.address, &raft.RequestPreVoteRequest{
			RPCHeader: f.header, Term: 10, LastLogIndex: last, LastLogTerm: 4,
		}, &raft.RequestPreVoteResponse{})
		if !errors.Is(pre9, want) {
			t.Errorf("pre-vote of a stranger whose log ends at %d: %v, want %v", last, pre9, want)
		}
	}
}
