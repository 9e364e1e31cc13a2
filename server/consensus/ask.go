package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// The questions that servers ask each other, one byte each. They are on the wire and in no case change.
const (
	askState  = 's' // who are you, and in which term?
	askIndex  = 'i' // you lead: which entry must I have applied to serve a read?
	askDigest = 'd' // what is your state, and after which entry?
	askHealth = 'h' // how far are you?
)

// answer is what comes back, as one line of JSON.
type answer struct {
	ID      string `json:"id"` // with the incarnation
	Address string `json:"address"`
	Cluster string `json:"cluster"`
	Lineage string `json:"lineage,omitempty"`
	Term    uint64 `json:"term"`
	// Last is the last entry of the log, committed or not.
	Last uint64 `json:"last"`
	// Index is that of the digest, or with Commit and CommitTerm that of a confirmation; only for those questions.
	Index      uint64 `json:"index,omitempty"`
	Commit     uint64 `json:"commit,omitempty"`
	CommitTerm uint64 `json:"commitTerm,omitempty"`
	// Digest is the state's after the entry at Index; only for askDigest.
	Digest string `json:"digest,omitempty"`
	// Health is only for askHealth.
	Health *Health `json:"health,omitempty"`
	// Error, unless empty, says why there is no answer.
	Error string `json:"error,omitempty"`
}

// peers asks the other servers.
type peers struct {
	life  *lifetime
	mux   *mux
	trans *transport
	raft  *raft.Raft
	self  *incarnation

	mu    sync.Mutex
	lines map[peerKey]*shared[answer] // guarded by mu
}

func newPeers(life *lifetime, mux *mux, trans *transport, raft *raft.Raft, self *incarnation) *peers {
	return &peers{life: life, mux: mux, trans: trans, raft: raft, self: self, lines: map[peerKey]*shared[answer]{}}
}

type peerKey struct {
	address  string
	question byte
}

// ask asks the server at address. Everybody who asks the same while an answer is on its way shares the next one.
func (p *peers) ask(ctx context.Context, address string, question byte) (answer, error) {
	key := peerKey{address, question}
	p.mu.Lock()
	peer, ok := p.lines[key]
	if !ok {
		peer = &shared[answer]{call: (&line{peers: p, key: key}).ask, spawn: p.life.spawn}
		p.lines[key] = peer
	}
	p.mu.Unlock()
	return peer.do(ctx)
}

// line is a connection for one question to one server. It is used by one goroutine at a time.
type line struct {
	peers *peers
	key   peerKey
	conn  net.Conn // nil if there is none
	dec   *json.Decoder
}

func (l *line) ask() (answer, error) {
	kept := l.conn != nil
	a, err := l.try()
	var timeout net.Error
	if err != nil && kept && !(errors.As(err, &timeout) && timeout.Timeout()) {
		a, err = l.try() // the connection had died since the last question
	}
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err == nil && l.key.question == askIndex {
		if a.Lineage != l.peers.self.history() {
			return answer{}, ErrLeftBehind // its indexes are not ours
		}
		l.peers.learn(a)
	}
	return a, err
}

func (l *line) try() (a answer, err error) {
	if l.conn == nil {
		if l.conn, err = l.peers.mux.dial(l.key.address, []byte{protocolQuestion}, messageTimeout); err != nil {
			l.conn = nil
			return a, err
		}
		l.dec = json.NewDecoder(l.conn)
	}
	err = l.conn.SetDeadline(time.Now().Add(messageTimeout))
	conn := l.conn
	defer context.AfterFunc(l.peers.life.ctx, func() { _ = conn.Close() })() // the node closes: nobody waits any more
	if err == nil {
		_, err = l.conn.Write([]byte{l.key.question})
	}
	if err == nil {
		err = l.dec.Decode(&a)
	}
	if err != nil {
		_ = l.conn.Close() // the first error is the one to report
		l.conn = nil
	}
	return a, err
}

// learn tells raft what the leader has just confirmed, so that a read need not wait for the leader's next message.
// It is a message that the leader could have sent: of its term, about an entry of its log that is committed.
func (p *peers) learn(a answer) {
	if a.CommitTerm == 0 || a.Commit <= p.raft.CommitIndex() || a.Commit > p.raft.LastIndex() {
		return
	}
	p.trans.in.inject(&raft.AppendEntriesRequest{
		RPCHeader: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax,
			ID:              []byte(a.ID),
			Addr:            []byte(a.Address),
		},
		Term:              a.Term,
		PrevLogEntry:      a.Commit,
		PrevLogTerm:       a.CommitTerm,
		LeaderCommitIndex: a.Commit,
	})
}
