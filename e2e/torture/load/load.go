package load

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holt-project/holt/e2e/torture/history"
	"github.com/holt-project/holt/internal/client"
)

// Namespace is where all objects of a run are.
const Namespace = "torture"

// Sizes of the load.
const (
	callersPerServer = 4
	keysPerEra       = 6
	callsPerEra      = keysPerEra * 150
)

// Load is the running clients.
type Load struct {
	recorder *history.Recorder
	clients  map[string]*client.Client // by the name of the server
	servers  []string
	start    uint64
	cancel   context.CancelFunc // ends the callers
	calling  sync.WaitGroup
	watching sync.WaitGroup
	// quiet is held for reading by a caller during a call, and for writing while nobody may call.
	quiet sync.RWMutex
	calls atomic.Int64
	// end is the revision that the watchers have to reach; 0 while they have to go on.
	end atomic.Uint64
	// watched ends the watchers, whatever they have reached.
	watched context.CancelFunc
}

// Start starts clients of all servers, which are the client of each by its name. The namespace exists and is empty, at
// revision start.
func Start(ctx context.Context, seed, start uint64, servers map[string]*client.Client, recorder *history.Recorder) *Load {
	l := &Load{recorder: recorder, clients: servers, servers: slices.Sorted(maps.Keys(servers)), start: start}
	var calling, watching context.Context
	calling, l.cancel = context.WithCancel(ctx)
	watching, l.watched = context.WithCancel(ctx)
	number := 0
	for _, server := range l.servers {
		for _, k := range kindsOfWatchers {
			number++
			w := &watcher{
				load: l, kind: k, server: server, name: fmt.Sprintf("%s watcher %d", k.name, number),
				random: rand.New(rand.NewPCG(seed, uint64(number))),
			}
			l.watching.Go(func() { w.loop(watching) })
		}
		for range callersPerServer {
			number++
			c := &caller{
				load: l, number: number, server: server, known: map[string]history.Object{},
				random: rand.New(rand.NewPCG(seed, uint64(number))),
			}
			l.calling.Go(func() { c.loop(calling) })
		}
	}
	return l
}

// era is the number of the keys that are in use.
func (l *Load) era() int { return int(l.calls.Load() / callsPerEra) }

// Quiet calls f while no caller has a request under way, and none begins.
func (l *Load) Quiet(f func() error) error {
	l.quiet.Lock()
	defer l.quiet.Unlock()
	return f()
}

// StopCalls ends the callers, and returns when their last calls have ended.
func (l *Load) StopCalls() {
	l.cancel()
	l.calling.Wait()
}

// Finish lets every watcher go on until it has come to a revision, and returns when all have, or ctx has ended.
func (l *Load) Finish(ctx context.Context, revision uint64) {
	l.end.Store(revision)
	stop := context.AfterFunc(ctx, l.watched)
	defer stop()
	l.watching.Wait()
	l.watched()
}

// ReadAll reads everything at each server once more.
func (l *Load) ReadAll(ctx context.Context) error {
	for i, server := range l.servers {
		c := &caller{load: l, number: -i, server: server}
		call := history.Call{Verb: history.List}
		c.carryOut(ctx, &call, finalTimeout)
		if call.Outcome != history.Done {
			return fmt.Errorf("listing everything at %s: %s", server, call.Error)
		}
	}
	return nil
}
