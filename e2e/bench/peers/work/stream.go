package work

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
)

const (
	// maxBehind is how many changes may be on their way to a watch: with more, the next one waits. It keeps watches
	// within the buffers of both sides, which cut off who falls behind.
	maxBehind = 16
	// maxChanges bounds all changes of a stream.
	maxChanges = 1 << 17
)

// stream is changes that go to many watches.
type stream struct {
	objects   Objects
	watches   int
	delivered atomic.Int64
	free      chan struct{} // has a place for each change that may be on its way
	left      []atomic.Int32
	sent      []atomic.Int64 // when, since begun; by change
	begun     time.Time
	timed     atomic.Bool       // whether times are taken
	times     [][]time.Duration // from create to delivery, by watch; each belongs to its watch until it has ended
}

// Deliveries is what watches got.
type Deliveries struct {
	// Rate is of events, at as many changes as can be delivered.
	Rate Rate
	// P99 is of the times from create to delivery, at a steady rate of changes.
	P99 time.Duration
}

// Deliver has ConfigMaps created that many watches see. First as fast as all of them get their events, for the rate, and
// then at a steady rate of changes a second, for the time that one takes. Both are for a window.
func (l Load) Deliver(ctx context.Context, o Objects, watches int, steady float64) (Deliveries, error) {
	s := &stream{
		objects: o, watches: watches, free: make(chan struct{}, maxBehind), begun: time.Now(),
		left: make([]atomic.Int32, maxChanges), sent: make([]atomic.Int64, maxChanges), times: make([][]time.Duration, watches),
	}
	w, err := Watch(ctx, l.Clients, o, watches, s.added)
	if err != nil {
		return Deliveries{}, err
	}
	d, err := s.measure(w.Context(), l, steady)
	if e := w.Stop(); e != nil {
		return d, e // why the changes did not arrive
	}
	if err != nil {
		return d, err
	}
	var all []time.Duration
	for _, one := range s.times {
		all = append(all, one...)
	}
	d.P99 = figures.Percentile(all, 99)
	return d, nil
}

func (s *stream) measure(ctx context.Context, l Load, steady float64) (Deliveries, error) {
	rate, first, err := l.run(ctx, maxChanges, &s.delivered, s.create)
	if err == nil {
		err = s.drain(ctx)
	}
	if err == nil {
		s.timed.Store(true)
		err = s.pace(ctx, l, first, steady)
	}
	if err == nil {
		err = s.drain(ctx)
	}
	return Deliveries{Rate: rate}, err
}

// create makes a change, when not too many are on their way. Its time runs while it waits for that.
func (s *stream) create(ctx context.Context, c *Client, n int64) error {
	s.left[n].Store(int32(s.watches))
	s.sent[n].Store(int64(time.Since(s.begun)))
	select {
	case s.free <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := c.Do(ctx, s.objects.CreateConfigMap(n))
	return err
}

// added is called by the watches.
func (s *stream) added(watch int, n int64) {
	s.delivered.Add(1)
	if s.timed.Load() {
		s.times[watch] = append(s.times[watch], time.Since(s.begun)-time.Duration(s.sent[n].Load()))
	}
	if s.left[n].Add(-1) == 0 {
		<-s.free
	}
}

// drain waits until every change has arrived.
func (s *stream) drain(ctx context.Context) error {
	for range maxBehind {
		select {
		case s.free <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for range maxBehind {
		<-s.free
	}
	return nil
}

// pace makes changes at a steady rate, each when it is due, from number first on.
func (s *stream) pace(ctx context.Context, l Load, first int64, perSecond float64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	count := int64(math.Ceil(perSecond * l.Window.Seconds()))
	errs := make(chan error, count)
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range min(count, maxChanges-first) {
		due := begun.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		select {
		case <-ctx.Done():
		case <-time.After(time.Until(due)):
		}
		c := l.Clients[int(i)%len(l.Clients)]
		wg.Go(func() {
			if err := s.create(ctx, c, first+i); err != nil {
				errs <- err
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}
