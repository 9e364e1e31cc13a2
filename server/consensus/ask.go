package consensus

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"time"
)

// The questions that servers ask each other, one byte each. They are on the wire and in no case change.
const (
	askState = 's' // who are you, and in which term?
	askIndex = 'i' // you lead: which entry must I have applied to serve a read?
)

// answer is what comes back, as one line of JSON.
type answer struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Cluster string `json:"cluster"`
	Term    uint64 `json:"term"`
	// Index, Commit and CommitTerm are those of a confirmation; only for askIndex.
	Index      uint64 `json:"index,omitempty"`
	Commit     uint64 `json:"commit,omitempty"`
	CommitTerm uint64 `json:"commitTerm,omitempty"`
	// Error, unless empty, says why there is no answer.
	Error string `json:"error,omitempty"`
}

// serveQuestions answers on one connection until it ends.
func (n *Node) serveQuestions(conn net.Conn) {
	enc := json.NewEncoder(conn)
	for {
		var question [1]byte
		if _, err := io.ReadFull(conn, question[:]); err != nil {
			return
		}
		a := n.answer(question[0])
		if conn.SetWriteDeadline(time.Now().Add(messageTimeout)) != nil || enc.Encode(a) != nil {
			return
		}
	}
}

func (n *Node) answer(question byte) answer {
	// The term is persisted before a vote is given in it, so it is never older than this server's last vote.
	a := answer{Name: n.cfg.Name, Address: n.cfg.Address, Cluster: n.cfg.Cluster, Term: n.raft.CurrentTerm()}
	switch question {
	case askState:
	case askIndex:
		ctx, cancel := n.bounded(context.Background())
		defer cancel()
		c, err := n.confirm.do(ctx)
		if err != nil {
			a.Error = err.Error()
		}
		a.Term, a.Index, a.Commit, a.CommitTerm = c.Term, c.Index, c.Commit, c.CommitTerm
	default:
		a.Error = "unknown question"
	}
	return a
}

type peerKey struct {
	address  string
	question byte
}

// ask asks the server at address. Everybody who asks the same while an answer is on its way shares the next one.
func (n *Node) ask(ctx context.Context, address string, question byte) (answer, error) {
	key := peerKey{address, question}
	n.mu.Lock()
	peer, ok := n.peers[key]
	if !ok {
		peer = &shared[answer]{call: (&line{node: n, key: key}).ask, spawn: n.spawn}
		n.peers[key] = peer
	}
	n.mu.Unlock()
	return peer.do(ctx)
}

// line is a connection for one question to one server. It is used by one goroutine at a time.
type line struct {
	node *Node
	key  peerKey
	conn net.Conn // nil if there is none
	dec  *json.Decoder
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
		l.node.learn(a)
	}
	return a, err
}

func (l *line) try() (a answer, err error) {
	if l.conn == nil {
		if l.conn, err = l.node.mux.dial(l.key.address, protocolQuestion, messageTimeout); err != nil {
			l.conn = nil
			return a, err
		}
		l.dec = json.NewDecoder(l.conn)
	}
	err = l.conn.SetDeadline(time.Now().Add(messageTimeout))
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
