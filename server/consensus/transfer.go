package consensus

import (
	"context"
	"fmt"

	"github.com/hashicorp/raft"
)

// give hands leadership to the server of that name, or to the one that is furthest if name is empty.
func (h *handover) give(ctx context.Context, name string) error {
	if !h.leadership.leads() {
		return h.leadership.notLeader()
	}
	var err error
	if name == "" {
		err = h.anybody(ctx)
	} else {
		err = h.named(ctx, name)
	}
	switch {
	case !h.leadership.leads():
		h.known(ctx)
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: no other server votes and answers", ErrNoHeir)
}

func (h *handover) named(ctx context.Context, name string) error {
	s, err := h.members.find(name)
	switch {
	case err != nil:
		return err
	case s.ID == h.leadership.self.id:
		return fmt.Errorf("%w: %s leads already", ErrNoHeir, name)
	case s.Suffrage != raft.Voter:
		return fmt.Errorf("%w: %s does not vote yet", ErrNoHeir, name)
	case !h.members.hears(s.ID):
		return fmt.Errorf("%w: %s does not answer", ErrNoHeir, name)
	}
	if err := h.to(ctx, s); err != nil {
		return fmt.Errorf("%w: %w", ErrNoHeir, err)
	}
	return nil
}

// known waits until this server knows who leads instead, for an election time at most.
func (h *handover) known(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, h.leadership.cfg.Timing.Election)
	defer cancel()
	for {
		changed := h.leadership.changed.wait()
		if _, address, _ := h.leadership.leader(); address != "" || !sleep(ctx, changed, retryPause) {
			return
		}
	}
}
