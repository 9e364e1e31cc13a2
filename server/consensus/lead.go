package consensus

import "context"

// Lead calls services each time that this server has become the leader and has applied everything committed
// before. The context that services gets ends when leadership does, and Lead waits for services to return before it
// can be called again. If services returns earlier, it is called again with the next leadership only.
// Lead returns when ctx or the node ends. One Lead may run at a time.
func (n *Node) Lead(ctx context.Context, services func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.life, cancel)()
	done := make(chan struct{})
	loop := func() {
		defer close(done)
		for {
			term, ok := n.elected(ctx)
			if !ok {
				return
			}
			n.reign(ctx, term, services)
		}
	}
	if n.spawn(loop) { // so that Close waits for the services
		<-done
	}
}

// elected waits until this server leads and has applied everything. It is false when ctx has ended.
func (n *Node) elected(ctx context.Context) (term uint64, ok bool) {
	for ctx.Err() == nil {
		changed := n.changed.wait()
		if !n.leads() {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		bounded, cancel := n.bounded(ctx)
		term, err := n.settle(bounded)
		cancel()
		if err == nil {
			return term, true
		}
		sleep(ctx, changed, retryPause)
	}
	return 0, false
}

// reign runs services for as long as this server leads in term.
func (n *Node) reign(ctx context.Context, term uint64, services func(context.Context)) {
	n.log.Info("this server leads", "term", term)
	reign, abdicate := context.WithCancel(ctx)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		services(reign)
	}()
	for ctx.Err() == nil {
		changed := n.changed.wait()
		if !n.leads() || n.raft.CurrentTerm() != term {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	abdicate()
	<-returned
	n.log.Info("this server no longer leads", "term", term)
}
