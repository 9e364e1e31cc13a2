package consensus

import (
	"errors"
	"io"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/holt-project/holt/internal/bugs"
)

// transport stands between raft and the library's network transport, and corrects what goes in. See doc.go.
type transport struct {
	inner libraryTransport
	in    *incoming
	stop  chan struct{}
	once  sync.Once

	mu     sync.Mutex
	pulses map[raft.ServerID]*pulse // guarded by mu
}

// libraryTransport is what raft.NetworkTransport does for us.
type libraryTransport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

func newTransport(inner libraryTransport, logs raft.LogStore) *transport {
	t := &transport{inner: inner, stop: make(chan struct{}), pulses: map[raft.ServerID]*pulse{}}
	t.in = newIncoming(inner.Consumer(), logs, t.stop)
	return t
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.in.consumer }

// SetHeartbeatHandler implements raft.Transport. It ignores the handler: heartbeats take the same way as everything
// else, because the fast one changes raft's state behind its main loop's back.
func (t *transport) SetHeartbeatHandler(handler func(raft.RPC)) {
	if bugs.On(bugs.HeartbeatFastPath) {
		t.inner.SetHeartbeatHandler(handler)
	}
}

// LocalAddr implements raft.Transport.
func (t *transport) LocalAddr() raft.ServerAddress { return t.inner.LocalAddr() }

// AppendEntriesPipeline implements raft.Transport.
func (t *transport) AppendEntriesPipeline(id raft.ServerID, to raft.ServerAddress) (raft.AppendPipeline, error) {
	return t.inner.AppendEntriesPipeline(id, destination(id, to))
}

// outage bounds how long entries wait for a server that does not answer heartbeats.
const outage = time.Minute

// AppendEntries implements raft.Transport. Entries that cannot be delivered wait until the server answers heartbeats
// again, and are sent once more. If the library saw each failure, it would back off for up to 10 seconds, and a
// server that is back would have to wait as long for what it missed.
func (t *transport) AppendEntries(id raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest,
	resp *raft.AppendEntriesResponse) error {
	to = destination(id, to)
	pulse := t.pulse(id)
	next := pulse.beats.wait()
	err := t.inner.AppendEntries(id, to, args, resp)
	if err == nil {
		pulse.last.Store(time.Now().UnixNano())
	}
	switch heartbeat := args.PrevLogEntry == 0 && len(args.Entries) == 0; {
	case heartbeat && err == nil:
		pulse.beats.raise()
		return nil
	case heartbeat || err == nil:
		return err
	}
	timer := time.NewTimer(outage)
	defer timer.Stop()
	select {
	case <-next:
		*resp = raft.AppendEntriesResponse{}
		return t.inner.AppendEntries(id, to, args, resp)
	case <-timer.C:
	case <-t.stop:
	}
	return err
}

// pulse is what this server, as the leader, knows of another's life.
type pulse struct {
	beats signal       // raised when the server has answered a heartbeat
	last  atomic.Int64 // when it answered anything last, in Unix nanoseconds; zero if it never did
}

func (t *transport) pulse(id raft.ServerID) *pulse {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, ok := t.pulses[id]
	if !ok {
		p = &pulse{}
		t.pulses[id] = p
	}
	return p
}

// heard is when the server of that ID answered this one last; zero if it never did.
func (t *transport) heard(id raft.ServerID) time.Time {
	if last := t.pulse(id).last.Load(); last != 0 {
		return time.Unix(0, last)
	}
	return time.Time{}
}

// forget drops what is known of servers that are in no configuration any more.
func (t *transport) forget(present func(raft.ServerID) bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.pulses, func(id raft.ServerID, _ *pulse) bool { return !present(id) })
}

// interrupt ends the waits of AppendEntries, and with them raft's own goroutines.
func (t *transport) interrupt() { t.once.Do(func() { close(t.stop) }) }

// RequestVote implements raft.Transport.
func (t *transport) RequestVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest,
	resp *raft.RequestVoteResponse) error {
	return retry(func() error { return t.inner.RequestVote(id, destination(id, to), args, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t *transport) RequestPreVote(id raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest,
	resp *raft.RequestPreVoteResponse) error {
	return retry(func() error { return t.inner.RequestPreVote(id, destination(id, to), args, resp) })
}

// InstallSnapshot implements raft.Transport.
func (t *transport) InstallSnapshot(id raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest,
	resp *raft.InstallSnapshotResponse, data io.Reader) error {
	return t.inner.InstallSnapshot(id, destination(id, to), args, resp, data)
}

// EncodePeer implements raft.Transport.
func (t *transport) EncodePeer(id raft.ServerID, a raft.ServerAddress) []byte {
	return t.inner.EncodePeer(id, a)
}

// DecodePeer implements raft.Transport.
func (t *transport) DecodePeer(b []byte) raft.ServerAddress { return t.inner.DecodePeer(b) }

// TimeoutNow implements raft.Transport.
func (t *transport) TimeoutNow(id raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest,
	resp *raft.TimeoutNowResponse) error {
	return retry(func() error { return t.inner.TimeoutNow(id, destination(id, to), args, resp) })
}

// Close implements raft.WithClose.
func (t *transport) Close() error {
	t.interrupt()
	err := t.inner.Close()
	t.in.wg.Wait()
	return err
}

// connPool is how many idle connections the library keeps to each server.
const connPool = 3

// retry repeats a message until it cannot have met a connection that died in the pool: connections between two
// followers rest from one election to the next, and an election must not wait for a round because of that. The
// messages that use it may arrive twice. A timeout is no sign of a dead connection.
func retry(send func() error) error {
	err := send()
	for range connPool {
		var timeout net.Error
		if err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			return err
		}
		err = send()
	}
	return err
}
