package consensus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// handover gives leadership to another server (Ongaro's dissertation, section 3.10). The library's own transfer is not
// used: one that is interrupted may leave a leader that refuses all writes (hashicorp/raft#696). Here nothing outlives
// the call: new entries are held back, the target catches up, and is told to stand for election at once.
type handover struct {
	life       *lifetime
	leadership *leadership
	members    *membership
	peers      *peers
	proposer   *proposer
	trans      *transport
	raft       *raft.Raft
}

// anybody hands over to the voter that is furthest, or to the next if that one cannot take over.
func (h *handover) anybody(ctx context.Context) error {
	type candidate struct {
		server raft.Server
		last   uint64
	}
	var candidates []candidate
	var errs error
	for _, v := range h.members.voters() {
		if string(v.ID) == h.leadership.cfg.Name {
			continue
		}
		a, err := h.peers.ask(ctx, string(v.Address), askState)
		if err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w", v.ID, err))
			continue
		}
		candidates = append(candidates, candidate{v, a.Last})
	}
	slices.SortFunc(candidates, func(a, b candidate) int { return cmp.Compare(b.last, a.last) })
	for _, c := range candidates {
		err := h.to(ctx, c.server)
		if err == nil || !h.leadership.leads() {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// to hands over to one voter. It returns once this server has stepped down. On error this server leads on, unless it
// has lost leadership otherwise.
func (h *handover) to(ctx context.Context, target raft.Server) error {
	ctx, cancel := h.life.bounded(ctx)
	defer cancel()
	release := h.proposer.hold() // what is proposed meanwhile waits, and then finds the new leader
	defer release()
	if err := h.catchUp(ctx, target); err != nil {
		return fmt.Errorf("%s has not caught up: %w", target.ID, err)
	}
	changed := h.leadership.changed.wait()
	request := &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(h.leadership.cfg.Name),
		Addr:            []byte(h.leadership.cfg.Address),
	}}
	if err := h.trans.TimeoutNow(target.ID, target.Address, request, &raft.TimeoutNowResponse{}); err != nil {
		return fmt.Errorf("%s was not told to take over: %w", target.ID, err)
	}
	elected := time.NewTimer(2 * h.leadership.cfg.Timing.Election)
	defer elected.Stop()
	for h.leadership.leads() {
		select {
		case <-changed:
			changed = h.leadership.changed.wait()
		case <-elected.C:
			return fmt.Errorf("%s did not win the election in time", target.ID)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// catchUp waits until the target has every entry of this server.
func (h *handover) catchUp(ctx context.Context, target raft.Server) error {
	for {
		a, err := h.peers.ask(ctx, string(target.Address), askState)
		if err == nil && a.Name == string(target.ID) && a.Last >= h.raft.LastIndex() {
			return nil
		}
		if !sleep(ctx, h.leadership.changed.wait(), h.leadership.cfg.Timing.Commit) {
			return errors.Join(context.Cause(ctx), err)
		}
		if !h.leadership.leads() {
			return h.leadership.notLeader()
		}
	}
}
