package consensus

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// restorer is a recorder that takes any snapshot.
type restorer struct{ *recorder }

func (r restorer) Restore(from io.ReadCloser) error { return from.Close() }

// TestSnapshotOverAStaleLog installs a snapshot up to entry 3 on a follower whose log conflicts with it, or ends before
// it, and then sends it entry 4. The library alone refuses that entry, and asks for the snapshot again for ever; or it
// leaves a gap.
func TestSnapshotOverAStaleLog(t *testing.T) {
	for name, test := range map[string]struct {
		stale uint64 // entries of an old leader
		shim  bool
		taken bool // entry 4 is
		first uint64
	}{
		"library alone, conflict at the end": {3, false, false, 1},
		"library alone, conflict inside":     {5, false, false, 1},
		"library alone, gap":                 {1, false, true, 1},
		"conflict at the end":                {3, true, true, 4},
		"conflict inside":                    {5, true, true, 4},
		"gap":                                {1, true, true, 4},
	} {
		t.Run(name, func(t *testing.T) {
			store := raft.NewInmemStore()
			f := follow(t, store, test.shim)
			var stale []*raft.Log
			for i := range test.stale {
				stale = append(stale, entryOf(i+1, 2))
			}
			if !f.append(t, 2, 0, 0, stale...) {
				t.Fatal("the old leader's entries are refused")
			}
			f.install(t, 5, 3, 4)
			if got := f.append(t, 5, 3, 4, entryOf(4, 5)); got != test.taken {
				t.Errorf("entry 4 is taken: %v", got)
			}
			if first, err := store.FirstIndex(); err != nil || first != test.first {
				t.Errorf("the log begins at %d, %v", first, err)
			}
		})
	}
}

func entryOf(index, term uint64) *raft.Log {
	return &raft.Log{Index: index, Term: term, Type: raft.LogCommand, Data: []byte("x")}
}

// follower is a raft server that never stands for election, and the leader that talks to it.
type follower struct {
	leader  *raft.InmemTransport
	header  raft.RPCHeader
	address raft.ServerAddress
}

func follow(t *testing.T, store *raft.InmemStore, shim bool) *follower {
	t.Helper()
	address, inner := raft.NewInmemTransport("")
	var trans libraryTransport = inner
	if shim {
		trans = newTransport(inner, store)
	}
	conf := raft.DefaultConfig()
	conf.LocalID, conf.Logger = "f", hclog.NewNullLogger()
	conf.HeartbeatTimeout, conf.ElectionTimeout = time.Hour, time.Hour
	machine := restorer{&recorder{more: make(chan struct{}, 10)}}
	r, err := raft.NewRaft(conf, machine, store, store, raft.NewInmemSnapshotStore(), trans)
	if err != nil {
		t.Fatal(err)
	}
	if shimmed, ok := trans.(*transport); ok {
		shimmed.in.running(r)
	}
	leaderAddress, leader := raft.NewInmemTransport("")
	leader.Connect(address, inner)
	t.Cleanup(func() {
		if err := errors.Join(r.Shutdown().Error(), trans.Close(), leader.Close()); err != nil {
			t.Error(err)
		}
	})
	return &follower{leader, raft.RPCHeader{ProtocolVersion: 3, ID: []byte("l"), Addr: []byte(leaderAddress)}, address}
}

func (f *follower) append(t *testing.T, term, prev, prevTerm uint64, entries ...*raft.Log) (taken bool) {
	t.Helper()
	var resp raft.AppendEntriesResponse
	err := f.leader.AppendEntries("f", f.address, &raft.AppendEntriesRequest{
		RPCHeader: f.header, Term: term, PrevLogEntry: prev, PrevLogTerm: prevTerm, Entries: entries,
	}, &resp)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Success
}

func (f *follower) install(t *testing.T, term, index, indexTerm uint64) {
	t.Helper()
	configuration := raft.Configuration{Servers: []raft.Server{{ID: "f", Address: f.address}, {ID: "l", Address: "l"}}}
	var resp raft.InstallSnapshotResponse
	err := f.leader.InstallSnapshot("f", f.address, &raft.InstallSnapshotRequest{
		RPCHeader: f.header, SnapshotVersion: 1, Term: term, LastLogIndex: index, LastLogTerm: indexTerm,
		Configuration: raft.EncodeConfiguration(configuration), ConfigurationIndex: 1, Size: 1,
	}, &resp, bytes.NewReader([]byte("s")))
	if err != nil || !resp.Success {
		t.Fatalf("install: %+v, %v", resp, err)
	}
}

// TestStartAfterACrashDuringAnInstall begins with a snapshot up to entry 3 of term 4 and what the log may be then.
func TestStartAfterACrashDuringAnInstall(t *testing.T) {
	for name, c := range map[string]struct {
		terms []uint64 // of the entries from 1 on
		kept  bool
	}{
		"shorter":               {[]uint64{2, 2}, false},
		"conflicting":           {[]uint64{2, 2, 2, 3}, false},
		"the snapshot's own":    {[]uint64{2, 4, 4}, true},
		"with entries after it": {[]uint64{2, 4, 4, 4, 5}, true},
	} {
		t.Run(name, func(t *testing.T) {
			logs, snapshots := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
			for i, term := range c.terms {
				if err := logs.StoreLog(entryOf(uint64(i+1), term)); err != nil {
					t.Fatal(err)
				}
			}
			sink, err := snapshots.Create(1, 3, 4, raft.Configuration{}, 1, nil)
			if err == nil {
				err = sink.Close()
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := mendStart(logs, snapshots); err != nil {
				t.Fatal(err)
			}
			if _, err := logs.LastIndex(); err != nil {
				t.Fatal(err)
			}
			var entry raft.Log
			if err := logs.GetLog(1, &entry); (err == nil) != c.kept {
				t.Errorf("entry 1: %v", err)
			}
		})
	}
}
