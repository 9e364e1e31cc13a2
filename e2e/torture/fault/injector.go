package fault

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/client"
	"github.com/holt-project/holt/internal/sandbox"
)

// undoTimeout bounds what undoes a step, also after the run's end.
const undoTimeout = 2 * time.Minute

// diskSize holds what a server writes in an hour of a run's load.
const diskSize = 512 << 20

// transferTimeout bounds the request for another leader.
const transferTimeout = 5 * time.Second

// Injector carries out steps on a cluster.
type Injector struct {
	cluster *harness.Cluster
	servers []sandbox.Host
	disk    *harness.Disk
	log     *slog.Logger
	// started is called before a server is started again.
	started func(server string)

	mu     sync.Mutex      // guards what follows
	counts map[string]int  // by kind; of what certainly struck
	down   map[string]bool // the servers that somebody has ended, and not started again
	ended  []End
}

// End is a server that ended by itself.
type End struct {
	Server string
	// Clear tells whether it said that it could not go on, and why. A full disk excuses that, and so does one that
	// does not answer; nothing excuses an end without a word.
	Clear bool
	// Words are the last lines of its log.
	Words string
}

// New makes an Injector. The last server gets a disk of its own.
func New(ctx context.Context, c *harness.Cluster, started func(server string), log *slog.Logger) (*Injector, error) {
	servers := c.Servers()
	i := &Injector{cluster: c, servers: servers, log: log, started: started, counts: map[string]int{}, down: map[string]bool{}}
	disks, err := c.MoveToDisks(ctx, diskSize, servers[len(servers)-1])
	if err != nil {
		return nil, err
	}
	i.disk = disks[0]
	return i, nil
}

// Counts tells how often each kind has struck.
func (i *Injector) Counts() map[string]int {
	i.mu.Lock()
	defer i.mu.Unlock()
	out := map[string]int{}
	for kind, n := range i.counts {
		out[kind] = n
	}
	return out
}

// Ended tells which servers ended by themselves.
func (i *Injector) Ended() []End {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.ended
}

// Carry carries out one step and undoes it, also when ctx ends: then the faults end early. The error says what could
// not be undone.
func (i *Injector) Carry(ctx context.Context, step Step) error {
	if !sleep(ctx, step.Calm) {
		return nil
	}
	i.log.Info("faults", "step", step.String())
	var striking sync.WaitGroup
	for _, f := range step.Faults {
		striking.Go(func() {
			if sleep(ctx, f.After) {
				i.strike(ctx, f)
			}
		})
	}
	striking.Wait()
	return i.restore(context.WithoutCancel(ctx))
}

// sleep is false if ctx ended before.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// strike lets one fault happen and last. Faults of one step may be in each other's way: one that finds its server
// taken already is none.
func (i *Injector) strike(ctx context.Context, f Fault) {
	// Verbs are not broken off half way.
	verbs, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	target := i.target(ctx, f.Target)
	heal, err := i.inject(verbs, f.Kind, target)
	if err != nil {
		i.log.Info("not struck", "fault", f.Kind, "server", target.Name, "because", err)
	} else {
		i.mu.Lock()
		i.counts[f.Kind]++
		i.mu.Unlock()
	}
	sleep(ctx, f.Hold)
	if heal == nil {
		return
	}
	if err := heal(verbs); err != nil {
		i.log.Info("not yet undone", "fault", f.Kind, "server", target.Name, "because", err)
	}
}

// target is the server that a number stands for. If nobody leads, the first is as good as any.
func (i *Injector) target(ctx context.Context, number int) sandbox.Host {
	if number != Leader {
		return i.servers[number]
	}
	hosts, err := i.cluster.Hosts(ctx)
	if err != nil {
		return i.servers[0]
	}
	for _, h := range hosts {
		if h.Leader {
			return h
		}
	}
	return i.servers[0]
}

// healing undoes a fault.
type healing func(context.Context) error

func (i *Injector) inject(ctx context.Context, kind string, target sandbox.Host) (healing, error) {
	name := target.Name
	switch kind {
	case KillProcess:
		return i.restart(name), i.end(i.cluster.KillProcess)(ctx, name)
	case PowerCut:
		return i.restart(name), i.end(i.cluster.Kill)(ctx, name)
	case Stop:
		return i.restart(name), i.end(i.cluster.Stop)(ctx, name)
	case KillAll:
		return i.restartAll, i.all(ctx, i.end(i.cluster.KillProcess))
	case PowerCutAll:
		return i.restartAll, i.all(ctx, i.end(i.cluster.Kill))
	case Pause:
		return func(ctx context.Context) error { return i.cluster.Resume(ctx, name) }, i.cluster.Pause(ctx, name)
	case Cut:
		return func(ctx context.Context) error { return i.cluster.Heal(ctx, name) }, i.cluster.Cut(ctx, name)
	case Transfer:
		return nil, i.transfer(ctx)
	case FullDisk:
		return func(context.Context) error { return i.disk.Empty() }, i.disk.Fill()
	}
	return i.part(kind, target)
}

// verb does something to a server.
type verb func(ctx context.Context, server string) error

// end notes that it is us who end a server.
func (i *Injector) end(how verb) verb {
	return func(ctx context.Context, name string) error {
		i.mu.Lock()
		i.down[name] = true
		i.mu.Unlock()
		return how(ctx, name)
	}
}

// all does one thing to all servers at one moment.
func (i *Injector) all(ctx context.Context, do verb) error {
	failures := make([]error, len(i.servers))
	var doing sync.WaitGroup
	for n, s := range i.servers {
		doing.Go(func() { failures[n] = do(ctx, s.Name) })
	}
	doing.Wait()
	return errors.Join(failures...)
}

func (i *Injector) restart(name string) healing {
	return func(ctx context.Context) error { return i.start(ctx, name) }
}

func (i *Injector) restartAll(ctx context.Context) error { return i.all(ctx, i.start) }

// start starts a server again, on the disk that it had.
func (i *Injector) start(ctx context.Context, name string) error {
	if name == i.disk.Server() {
		if err := i.disk.Mount(ctx); err != nil {
			return err
		}
	}
	i.started(name)
	err := i.cluster.Start(ctx, name)
	if err != nil && !errors.Is(err, sandbox.ErrRunning) {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down[name] = false
	return nil
}

// transfer asks for another leader.
func (i *Injector) transfer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	return i.cluster.API.Do(ctx, client.Request{
		Method: http.MethodPost, Path: "/holt/v1/members/transfer", Body: map[string]string{}}, nil)
}

// restore undoes all that a step did, whatever that was, and starts what does not run.
func (i *Injector) restore(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	failures := []error{i.disk.Empty()}
	for _, s := range i.servers {
		failures = append(failures, i.cluster.Resume(ctx, s.Name), i.cluster.Heal(ctx, s.Name), clearLinks(s.NetNS))
	}
	return errors.Join(append(failures, i.Revive(ctx))...)
}

// Revive starts the servers that do not run, and notes those that nobody has ended. One can also end a while after the
// fault that is the reason, so it has to be called until all is well.
func (i *Injector) Revive(ctx context.Context) error {
	hosts, err := i.cluster.Hosts(ctx)
	if err != nil {
		return err
	}
	for _, h := range hosts {
		if h.State != sandbox.StateStopped {
			continue
		}
		i.note(h.Name)
		if err := i.start(ctx, h.Name); err != nil {
			return err
		}
	}
	return nil
}

func (i *Injector) note(name string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down[name] {
		return
	}
	i.ended = append(i.ended, newEnd(name, i.cluster.LogFile(name)))
}

// newEnd reads what a server said last. Of one that ended clearly the reason says enough.
func newEnd(server, file string) End {
	const most = 20
	data, err := os.ReadFile(file)
	if err != nil {
		return End{Server: server, Words: err.Error()}
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for _, line := range lines[max(0, len(lines)-3):] {
		if strings.Contains(line, "cannot go on") {
			return End{server, true, line}
		}
	}
	return End{Server: server, Words: strings.Join(lines[max(0, len(lines)-most):], "\n")}
}
