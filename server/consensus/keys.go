package consensus

import (
	"context"
	"errors"
)

// KeysNeeded returns the IDs of the keys without which this server's data folder cannot be read, sorted; perhaps more,
// never fewer. A ring that Config.Keys gets must hold them.
func (n *Node) KeysNeeded() ([]string, error) {
	if n.sealed == nil {
		return nil, nil
	}
	return n.sealed.Needed()
}

// Reseal encrypts with the present primary key what this server keeps under others, while it goes on to serve. An error
// leaves everything readable; it may be called again, but by one goroutine at a time. What turns out to be damaged
// ends the process.
func (n *Node) Reseal(ctx context.Context) error {
	if n.sealed == nil {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(n.life.ctx, func() { cancel(ErrClosed) })()
	done := make(chan error, 1)
	if !n.life.spawn(func() { done <- n.sealed.Reseal(ctx, n.trans) }) {
		return ErrClosed
	}
	err := <-done
	if errors.Is(err, ErrDamaged) {
		n.cfg.Fatal(err)
	}
	return err
}
