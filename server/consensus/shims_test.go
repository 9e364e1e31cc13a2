package consensus

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// recorder is a state machine that remembers what it was told to apply.
type recorder struct {
	mu      sync.Mutex
	applied []string
	more    chan struct{}
}

func (r *recorder) Apply(l *raft.Log) any {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.applied = append(r.applied, string(l.Data))
	r.more <- struct{}{}
	return nil
}
func (r *recorder) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("no snapshots") }
func (r *recorder) Restore(io.ReadCloser) error         { return nil }

// TestStaleTail shows a follower that has entries 2 and 3 of a deposed leader. The new leader, which has committed
// three entries of its own, asks first whether entry 1 is there: it is, and nothing behind it may be applied. The
// library alone applies the stale entries; when it no longer does, the shim can go.
func TestStaleTail(t *testing.T) {
	for name, test := range map[string]struct {
		shim bool
		want string
	}{
		"library alone":    {false, "one,stale two,stale three,"},
		"with clampCommit": {true, "one,two,three,"},
	} {
		t.Run(name, func(t *testing.T) {
			got := followTwoLeaders(t, test.shim)
			if got != test.want {
				t.Errorf("applied %q, want %q", got, test.want)
			}
		})
	}
}

func followTwoLeaders(t *testing.T, shim bool) string {
	store := raft.NewInmemStore()
	address, inner := raft.NewInmemTransport("")
	var trans libraryTransport = inner
	if shim {
		trans = newTransport(inner, store)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = "f", hclog.NewNullLogger()
	conf.HeartbeatTimeout, conf.ElectionTimeout = time.Hour, time.Hour
	machine := &recorder{more: make(chan struct{}, 10)}
	r, err := raft.NewRaft(conf, machine, store, store, raft.NewInmemSnapshotStore(), trans)
	if err != nil {
		t.Fatal(err)
	}
	leaderAddress, leader := raft.NewInmemTransport("")
	leader.Connect(address, inner)
	t.Cleanup(func() {
		if err := errors.Join(r.Shutdown().Error(), trans.Close(), leader.Close()); err != nil {
			t.Error(err)
		}
	})
	send := func(term, prev, prevTerm, commit uint64, entries ...*raft.Log) {
		t.Helper()
		var resp raft.AppendEntriesResponse
		header := raft.RPCHeader{ProtocolVersion: 3, ID: []byte("l"), Addr: []byte(leaderAddress)}
		err := leader.AppendEntries("f", address, &raft.AppendEntriesRequest{
			RPCHeader: header, Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm,
			Entries: entries, LeaderCommitIndex: commit,
		}, &resp)
		if err != nil || !resp.Success {
			t.Fatalf("append entries: %+v, %v", resp, err)
		}
	}
	entry := func(index, term uint64, data string) *raft.Log {
		return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: []byte(data)}
	}
	send(2, 0, 0, 0, entry(1, 2, "one"), entry(2, 2, "stale two"), entry(3, 2, "stale three"))
	send(3, 1, 2, 3)
	send(3, 1, 2, 3, entry(2, 3, "two"), entry(3, 3, "three"))
	for range 3 {
		<-machine.more
	}
	machine.mu.Lock()
	defer machine.mu.Unlock()
	var out bytes.Buffer
	for _, a := range machine.applied {
		out.WriteString(a + ",")
	}
	return out.String()
}

// TestHeartbeatsTakeTheOrderlyWay fails if transport passes SetHeartbeatHandler on.
func TestHeartbeatsTakeTheOrderlyWay(t *testing.T) {
	mine, theirs := pipeTransports(t)
	trans := newTransport(mine, raft.NewInmemStore())
	t.Cleanup(func() {
		if err := trans.Close(); err != nil {
			t.Error(err)
		}
	})
	fast := make(chan struct{}, 1)
	trans.SetHeartbeatHandler(func(rpc raft.RPC) {
		fast <- struct{}{}
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		beat := &raft.AppendEntriesRequest{RPCHeader: raft.RPCHeader{ProtocolVersion: 3, Addr: []byte("x")}, Term: 1}
		if err := theirs.AppendEntries("f", mine.LocalAddr(), beat, &raft.AppendEntriesResponse{}); err != nil {
			t.Error(err)
		}
	})
	select {
	case rpc := <-trans.Consumer():
		rpc.Respond(&raft.AppendEntriesResponse{}, nil)
	case <-fast:
		t.Error("a heartbeat took the fast way")
	}
	wg.Wait()
}

func pipeTransports(t *testing.T) (mine, theirs *raft.NetworkTransport) {
	t.Helper()
	open := func() *raft.NetworkTransport {
		n, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 1, time.Minute, hclog.NewNullLogger())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	mine, theirs = open(), open()
	t.Cleanup(func() {
		theirs.CloseStreams()
		if err := theirs.Close(); err != nil {
			t.Error(err)
		}
	})
	return mine, theirs
}

// deadPeer is a library transport to a server that is down until up is closed.
type deadPeer struct {
	*raft.InmemTransport
	up    chan struct{}
	tried chan struct{}
}

func (d *deadPeer) AppendEntries(_ raft.ServerID, _ raft.ServerAddress, args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse) error {
	if len(args.Entries) > 0 {
		d.tried <- struct{}{}
	}
	select {
	case <-d.up:
		resp.Success = true
		return nil
	default:
		return errors.New("connection refused")
	}
}

// TestEntriesWaitForAServerThatIsDown fails if the library gets to see, and count, the failures.
func TestEntriesWaitForAServerThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, inner := raft.NewInmemTransport("")
		peer := &deadPeer{inner, make(chan struct{}), make(chan struct{}, 2)}
		trans := newTransport(peer, raft.NewInmemStore())
		done, resp := make(chan error), &raft.AppendEntriesResponse{}
		entries := &raft.AppendEntriesRequest{Entries: []*raft.Log{{Index: 1}}}
		heartbeat := func() error {
			return trans.AppendEntries("f", "", &raft.AppendEntriesRequest{}, &raft.AppendEntriesResponse{})
		}
		go func() { done <- trans.AppendEntries("f", "", entries, resp) }()
		<-peer.tried
		if heartbeat() == nil {
			t.Error("a heartbeat to a server that is down succeeded")
		}
		synctest.Wait() // the entries wait
		close(peer.up)
		if err := heartbeat(); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil || !resp.Success || len(peer.tried) != 1 {
			t.Errorf("entries after the server is back: %+v, %v", resp, err)
		}
		if err := trans.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestSharedAnswersAreNotOlderThanTheQuestion asks while a call is under way: that call's answer is not for us.
func TestSharedAnswersAreNotOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, proceed := 0, make(chan struct{})
		s := &shared[int]{
			call:  func() (int, error) { calls++; mine := calls; <-proceed; return mine, nil },
			spawn: func(do func()) bool { go do(); return true },
		}
		answers := make(chan int, 10)
		ask := func() {
			a, err := s.do(t.Context())
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}
		go ask()
		synctest.Wait() // the first call is under way
		for range 5 {
			go ask()
		}
		synctest.Wait()
		proceed <- struct{}{}
		if a := <-answers; a != 1 {
			t.Errorf("the first got answer %d", a)
		}
		proceed <- struct{}{}
		for range 5 {
			if a := <-answers; a != 2 {
				t.Errorf("a later one got answer %d", a)
			}
		}
		if calls != 2 {
			t.Errorf("%d calls for 6 questions", calls)
		}
	})
}
