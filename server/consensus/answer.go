package consensus

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"time"
)

// answerer answers what other servers ask this one.
type answerer struct {
	cfg   Config
	self  *incarnation
	reads *reads
}

// serve answers on one connection until it ends.
func (a *answerer) serve(conn net.Conn) {
	enc := json.NewEncoder(conn)
	for {
		var question [1]byte
		if _, err := io.ReadFull(conn, question[:]); err != nil {
			return
		}
		reply := a.answer(question[0])
		if conn.SetWriteDeadline(time.Now().Add(messageTimeout)) != nil || enc.Encode(reply) != nil {
			return
		}
	}
}

func (a *answerer) answer(question byte) answer {
	// The term is persisted before a vote is given in it, so it is never older than this server's last vote.
	reply := answer{ID: string(a.self.id), Address: a.cfg.Address, Cluster: a.cfg.Cluster, Lineage: a.self.history(),
		Term: a.reads.raft.CurrentTerm(), Last: a.reads.raft.LastIndex()}
	switch question {
	case askState:
	case askDigest:
		view := a.reads.store.View()
		reply.Index, reply.Digest = view.Index(), view.Digest()
	case askHealth:
		h := healthOf(a.reads.raft, a.reads.store)
		reply.Health = &h
	case askIndex:
		ctx, cancel := a.reads.life.bounded(context.Background())
		defer cancel()
		c, err := a.reads.confirm.do(ctx)
		if err != nil {
			reply.Error = err.Error()
		}
		reply.Term, reply.Index, reply.Commit, reply.CommitTerm = c.Term, c.Index, c.Commit, c.CommitTerm
	default:
		reply.Error = "unknown question"
	}
	return reply
}
