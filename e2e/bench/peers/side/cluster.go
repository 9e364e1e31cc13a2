package side

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/holt-project/holt/e2e/bench/figures"
	"github.com/holt-project/holt/internal/pki"
)

// Pause is that between two looks at a process that is awaited: the error of every time that is measured here.
const Pause = 2 * time.Millisecond

// program is one process of a cluster.
type program struct {
	name    string
	command []string
	// api is the base URL of the Kubernetes API that the process serves; empty if it serves none.
	api string
	// ready is the URL that answers 200 once the process does its work.
	ready string
	// after is a file that has to be there before the process starts; empty if there is none.
	after string
}

// system is what differs between the sides.
type system interface {
	// programs lists the processes in the order in which they start.
	programs() []program
	// administrator is an identity of the group system:masters. It may have to be awaited until the cluster has begun.
	administrator() (pki.Identity, error)
	// leads reports whether a process leads the others.
	leads(ctx context.Context, c *http.Client, p program) (bool, error)
}

// Cluster is one side, running or not.
type Cluster struct {
	dir     string
	system  system
	running map[string]*process // by program
	client  *http.Client        // of the administrator; nil until there is one
	tls     *tls.Config
}

func newCluster(dir string, s system) *Cluster {
	return &Cluster{dir: dir, system: s, running: map[string]*process{}}
}

// Start starts every process that does not run, and returns at once unless one has to wait for another.
func (c *Cluster) Start(ctx context.Context) error {
	for _, p := range c.system.programs() {
		if err := c.start(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) start(ctx context.Context, p program) error {
	if c.running[p.name] != nil {
		return nil
	}
	if p.after != "" {
		err := c.await(ctx, p.after, func() error { _, err := os.Stat(p.after); return err })
		if err != nil {
			return err
		}
	}
	one, err := spawn(p.command, filepath.Join(c.dir, p.name+".log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	c.running[p.name] = one
	return nil
}

// Ready waits until every process is ready.
func (c *Cluster) Ready(ctx context.Context) error {
	err := c.await(ctx, "the administrator's certificate", c.connect)
	if err != nil {
		return err
	}
	for _, p := range c.system.programs() {
		if err := c.await(ctx, p.name, func() error { return c.asks(ctx, p.ready) }); err != nil {
			return err
		}
	}
	return nil
}

// connect makes the client. It is used for what is asked rarely; work has clients of its own.
func (c *Cluster) connect() error {
	if c.client != nil {
		return nil
	}
	id, err := c.system.administrator()
	if err != nil {
		return err
	}
	if c.tls, err = id.PeerTLS(); err != nil {
		return err
	}
	c.client = &http.Client{
		Transport: &http.Transport{TLSClientConfig: c.tls.Clone(), ForceAttemptHTTP2: true},
		Timeout:   2 * time.Second,
	}
	return nil
}

func (c *Cluster) asks(ctx context.Context, url string) error {
	_, err := get(ctx, c.client, url)
	return err
}

// await calls probe until it returns nil. It fails when ctx ends, or a process.
func (c *Cluster) await(ctx context.Context, what string, probe func() error) error {
	for {
		err := probe()
		if err == nil {
			return nil
		}
		for name, p := range c.running {
			if e := p.ended(); e != nil {
				return fmt.Errorf("%s: %w", name, e)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, err)
		case <-time.After(Pause):
		}
	}
}

// TLS is the administrator's, once the cluster was ready.
func (c *Cluster) TLS() *tls.Config { return c.tls.Clone() }

// APIs are the base URLs at which the Kubernetes API is served by processes that run.
func (c *Cluster) APIs() []string {
	var urls []string
	for _, p := range c.system.programs() {
		if p.api != "" && c.running[p.name] != nil {
			urls = append(urls, p.api)
		}
	}
	return urls
}

// KillLeader ends the process that leads, as a crash does.
func (c *Cluster) KillLeader(ctx context.Context) error {
	var leader string
	err := c.await(ctx, "a leader", func() error {
		var failed error
		for _, p := range c.system.programs() {
			leads, err := c.system.leads(ctx, c.client, p)
			if leads {
				leader = p.name
				return nil
			}
			failed = errors.Join(failed, err)
		}
		return errors.Join(errors.New("nobody leads"), failed)
	})
	if err != nil {
		return err
	}
	c.running[leader].kill()
	delete(c.running, leader)
	return nil
}

// CPU is the CPU time of all processes that run, since their start.
func (c *Cluster) CPU() (time.Duration, error) {
	var sum time.Duration
	for name, p := range c.running {
		d, err := figures.CPU(p.pid)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		sum += d
	}
	return sum, nil
}

// Memory is what all processes that run have resident, in bytes.
func (c *Cluster) Memory() (int64, error) {
	var sum int64
	for name, p := range c.running {
		rss, _, err := figures.Memory(p.pid)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		sum += rss
	}
	return sum, nil
}

// Stop ends all processes, those that others need last. What they keep stays, and Start starts them again.
func (c *Cluster) Stop() error {
	var failed error
	programs := c.system.programs()
	for i := range programs {
		name := programs[len(programs)-1-i].name
		if p := c.running[name]; p != nil {
			if err := p.stop(); err != nil {
				failed = errors.Join(failed, fmt.Errorf("%s: %w", name, err))
			}
			delete(c.running, name)
		}
	}
	if c.client != nil {
		c.client.CloseIdleConnections()
	}
	return failed
}
