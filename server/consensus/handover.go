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
	return h.first(ctx, h.to)
}

// evade makes another server stand for election at once. It works while raft's loop hangs in a write, which is why it
// asks the target what became of it: this server would not notice.
func (h *handover) evade(ctx context.Context) error {
	term := h.raft.CurrentTerm()
	return h.first(ctx, func(ctx context.Context, target raft.Server) error {
		if err := h.call(target); err != nil {
			return err
		}
		a, err := h.peers.ask(ctx, string(target.Address), askState)
		if err == nil && a.Term <= term {
			err = fmt.Errorf("%s did not stand for election", target.ID)
		}
		return err
	})
}

// first tries the other voters until this server no longer leads, beginning with the one that is furthest.
func (h *handover) first(ctx context.Context, try func(context.Context, raft.Server) error) error {
	candidates, errs := h.candidates(ctx)
	for _, c := range candidates {
		err := try(ctx, c)
		if err == nil || !h.leadership.leads() {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

// candidates are the other voters that answer soon, in the order of the last entries of their logs; the errors are of
// those that do not.
func (h *handover) candidates(ctx context.Context) (candidates []raft.Server, errs error) {
	ctx, cancel := context.WithTimeout(ctx, h.leadership.cfg.Timing.Election)
	defer cancel()
	type reply struct {
		server raft.Server
		last   uint64
		err    error
	}
	voters := h.members.voters()
	replies := make(chan reply, len(voters))
	asked := 0
	for _, v := range voters {
		if v.ID == h.leadership.self.id {
			continue
		}
		if !h.members.hears(v.ID) { // to ask one that is dead would take the others' time
			errs = errors.Join(errs, fmt.Errorf("%w: %s does not answer", ErrNoHeir, v.ID))
			continue
		}
		if h.life.spawn(func() {
			a, err := h.peers.ask(ctx, string(v.Address), askState)
			replies <- reply{v, a.Last, err}
		}) {
			asked++
		}
	}
	last := map[raft.ServerID]uint64{}
	for range asked {
		r := <-replies // the latest when ctx ends
		if r.err != nil {
			errs = errors.Join(errs, fmt.Errorf("%s: %w", r.server.ID, r.err))
			continue
		}
		last[r.server.ID] = r.last
		candidates = append(candidates, r.server)
	}
	slices.SortFunc(candidates, func(a, b raft.Server) int { return cmp.Compare(last[b.ID], last[a.ID]) })
	return candidates, errs
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
	if err := h.call(target); err != nil {
		return err
	}
	return h.deposed(ctx, target, changed)
}

// alone makes this server stand for election at once if it is the only voter: there is no leader to wait for.
func (h *handover) alone() {
	if v := h.members.voters(); len(v) == 1 && v[0].ID == h.leadership.self.id {
		h.trans.in.inject(h.request())
	}
}

// call tells the target to stand for election, without asking first whether anybody would vote for it.
func (h *handover) call(target raft.Server) error {
	if err := h.trans.TimeoutNow(target.ID, target.Address, h.request(), &raft.TimeoutNowResponse{}); err != nil {
		return fmt.Errorf("%s was not told to take over: %w", target.ID, err)
	}
	return nil
}

func (h *handover) request() *raft.TimeoutNowRequest {
	return &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
		ProtocolVersion: raft.ProtocolVersionMax,
		ID:              []byte(h.leadership.self.id),
		Addr:            []byte(h.leadership.cfg.Address),
	}}
}

// deposed waits until this server no longer leads. changed is from before the target was called.
func (h *handover) deposed(ctx context.Context, target raft.Server, changed <-chan struct{}) error {
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
		if err == nil && a.ID == string(target.ID) && a.Last >= h.raft.LastIndex() {
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
