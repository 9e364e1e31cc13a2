package consensus

import "context"

// Lead calls services each time that this server has become the leader and has applied everything committed
// before. The context that services gets ends when leadership does, and Lead waits for services to return before it
// can be called again. If services returns earlier, it is called again with the next leadership only.
// Lead returns when ctx or the node ends. One Lead may run at a time.
func (n *Node) Lead(ctx context.Context, services func(context.Context)) {
	n.leadership.lead(ctx, services)
}

func (l *leadership) lead(ctx context.Context, services func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(l.life.ctx, cancel)()
	done := make(chan struct{})
	loop := func() {
		defer close(done)
		for {
			term, ok := l.elected(ctx)
			if !ok {
				return
			}
			l.reign(ctx, term, services)
		}
	}
	if l.life.spawn(loop) { // so that Close waits for the services
		<-done
	}
}

// elected waits until this server leads and has applied everything. It is false when ctx has ended.
func (l *leadership) elected(ctx context.Context) (term uint64, ok bool) {
	for ctx.Err() == nil {
		changed := l.changed.wait()
		if !l.leads() {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		bounded, cancel := l.life.bounded(ctx)
		term, err := l.settle(bounded)
		cancel()
		if err == nil {
			return term, true
		}
		sleep(ctx, changed, retryPause)
	}
	return 0, false
}

// reign runs services for as long as this server leads in term.
func (l *leadership) reign(ctx context.Context, term uint64, services func(context.Context)) {
	l.cfg.Log.Info("this server leads", "term", term)
	reign, abdicate := context.WithCancel(ctx)
	returned := make(chan struct{})
	go func() {
		defer close(returned)
		services(reign)
	}()
	for ctx.Err() == nil {
		changed := l.changed.wait()
		if !l.leads() || l.raft.CurrentTerm() != term {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	abdicate()
	<-returned
	l.cfg.Log.Info("this server no longer leads", "term", term)
}
