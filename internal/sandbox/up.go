package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// cleanupTimeout bounds the removal of a sandbox that did not become ready, after its caller's context has ended.
const cleanupTimeout = time.Minute

// Up starts a sandbox and returns once every server serves, one of them leads, and every agent's Node is Ready.
// If that fails, or ctx ends, it removes what it made, unless Options.Keep. The error is a *StartError if a host is to
// blame, and wraps ErrExists if the name is taken.
func Up(ctx context.Context, o Options) (*Sandbox, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(o.Root, o.Name)
	unlock, err := reserve(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := newSandbox(dir, nil, o.Log)
	if err == nil {
		err = s.bringUp(ctx, o)
	}
	if err == nil {
		return s, nil
	}
	if o.Keep && s != nil && s.rec != nil {
		return nil, fmt.Errorf("%w\nThe sandbox is kept; remove it with: holt down --name %s", err, o.Name)
	}
	cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	if s == nil {
		return nil, errors.Join(err, removeFiles(dir))
	}
	return nil, errors.Join(err, s.tearDown(cleanup))
}

// reserve makes and locks the sandbox's folder, which stands for its name.
func reserve(ctx context.Context, dir string) (unlock func(), err error) {
	// The last Down removes the parent as well, perhaps between the two calls.
	for range 10 {
		if err = os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return nil, fmt.Errorf("the sandboxes' folder: %w", err)
		}
		if err = os.Mkdir(dir, 0o700); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	name := filepath.Base(dir)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%w: %s, in %s; remove it with: holt down --name %s, or see holt hosts --name %s "+
			"and start its hosts with: holt host start HOST --name %s", ErrExists, name, dir, name, name, name)
	}
	if err != nil {
		return nil, fmt.Errorf("making the sandbox's folder: %w", err)
	}
	return lockFolder(ctx, dir, unix.LOCK_EX)
}

func (s *Sandbox) bringUp(ctx context.Context, o Options) error {
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if err := s.claim(ctx, o); err != nil {
		return err
	}
	resolvers, err := machineResolvConf(resolvConfSources)
	if err != nil {
		return err
	}
	if err := writeFileAtomic(filepath.Join(s.dir, resolvConfFile), resolvers); err != nil {
		return err
	}
	var booting errgroup.Group
	for _, h := range s.rec.Hosts {
		booting.Go(func() error { return s.boot(ctx, h) })
	}
	if err := booting.Wait(); err != nil {
		return err
	}
	if err := s.startFirst(ctx); err != nil {
		return err
	}
	for _, h := range s.rec.Hosts[1:] {
		if err := s.spawn(h); err != nil {
			return err
		}
	}
	cluster, err := s.cluster()
	if err != nil {
		return err
	}
	if err := s.awaitReady(ctx, cluster); err != nil {
		return err
	}
	return s.copyKubeconfig()
}

// claim takes a subnet and makes what is the sandbox's but no host's, with the machine's lock held.
func (s *Sandbox) claim(ctx context.Context, o Options) error {
	unlock, err := lockMachine(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	other, err := claimedElsewhere(s.dir)
	if err != nil {
		return err
	}
	if other != "" {
		return fmt.Errorf("%w: %s, in %s; choose another name", ErrExists, o.Name, other)
	}
	if left, err := recoverRecord(s.dir); err != nil {
		return err
	} else if left != nil {
		return fmt.Errorf("%w: %s, whose folder somebody removed; remove the rest with: holt down --name %s",
			ErrExists, o.Name, o.Name)
	}
	index, subnet, err := pickSubnet(o.Root, o.Pool)
	if err != nil {
		return err
	}
	rec := plan(o, s.dir, index, subnet)
	if err := rec.write(s.dir); err != nil {
		return fmt.Errorf("writing the sandbox's record: %w", err)
	}
	s.rec = &rec
	s.log.Info("making the sandbox", "name", rec.Name, "subnet", rec.Subnet, "folder", s.dir)
	if err := rec.makeBridge(s.dir); err != nil {
		return err
	}
	if err := rec.setForwarding(); err != nil {
		return err
	}
	return s.groups.make(filepath.Join(cgroupTop, rec.Name))
}

// startFirst starts the server that makes the cluster, and copies what the others need from it to the sandbox's
// folder, so that they do not depend on the first host's disk.
func (s *Sandbox) startFirst(ctx context.Context) error {
	first := s.rec.Hosts[0]
	if err := s.spawn(first); err != nil {
		return err
	}
	data := hostPaths(s.dir, first.Name).data
	copies := []struct{ from, to string }{
		{filepath.Join(data, "admin.kubeconfig"), s.Kubeconfig()},
		{filepath.Join(data, "server-token"), filepath.Join(s.dir, serverTokenFile)},
		{filepath.Join(data, "agent-token"), filepath.Join(s.dir, agentTokenFile)},
	}
	return s.await(ctx, func() (host, waitsFor string, err error) {
		kubeconfig, err := os.ReadFile(copies[0].from)
		if err != nil {
			return first.Name, err.Error(), nil
		}
		cluster, err := newCluster(kubeconfig, s.rec.servers())
		if err != nil {
			return first.Name, err.Error(), nil // perhaps written in part
		}
		if _, reason := serves(ctx, cluster, first.Address); reason != "" {
			return first.Name, reason, nil
		}
		for _, c := range copies {
			content, err := os.ReadFile(c.from)
			if err != nil {
				return first.Name, err.Error(), nil
			}
			if err := writeFileAtomic(c.to, content); err != nil {
				return "", "", err
			}
		}
		s.log.Info("the first server serves", "host", first.Name, "address", first.Address)
		return "", "", nil
	})
}

// awaitReady returns when every server serves, one leads, and every agent's Node is Ready.
func (s *Sandbox) awaitReady(ctx context.Context, cluster Cluster) error {
	return s.await(ctx, func() (host, waitsFor string, err error) {
		leaders := 0
		for _, h := range s.rec.Hosts {
			if h.Role != RoleServer {
				continue
			}
			leads, reason := serves(ctx, cluster, h.Address)
			if reason != "" {
				return h.Name, reason, nil
			}
			if leads {
				leaders++
			}
		}
		if leaders != 1 {
			return s.rec.Hosts[0].Name, fmt.Sprintf("%d servers say that they lead", leaders), nil
		}
		ready, err := cluster.ReadyNodes(ctx)
		if err != nil {
			return s.rec.Hosts[0].Name, "its nodes cannot be listed: " + err.Error(), nil
		}
		for _, h := range s.rec.Hosts {
			if h.Role != RoleAgent || ready[h.Name] {
				continue
			}
			if _, registered := ready[h.Name]; !registered {
				return h.Name, "it has not registered its Node", nil
			}
			return h.Name, "its Node is not Ready", nil
		}
		return "", "", nil
	})
}

// serves tells whether a server leads, or why it does not serve. One request must not use up the time of all.
func serves(ctx context.Context, cluster Cluster, server netip.Addr) (leads bool, reason string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	leads, err := cluster.Status(ctx, server)
	if err != nil {
		return false, "it does not serve: " + err.Error()
	}
	return leads, ""
}

// await calls step until it names no host that is waited for. It fails at once if a started process ends, and blames
// the host that was waited for last if ctx ends.
func (s *Sandbox) await(ctx context.Context, step func() (host, waitsFor string, err error)) error {
	var host, waitsFor string
	err := poll(ctx, func() (bool, error) {
		for _, h := range s.rec.Hosts {
			if err := s.ended(h.Name); err != nil {
				return false, err
			}
		}
		blamed, reason, err := step()
		if err != nil || blamed == "" {
			return err == nil, err
		}
		// What a request says as the time runs out is that the time ran out; the reason before says more.
		if ctx.Err() == nil {
			if host != blamed {
				s.log.Info("waiting", "host", blamed, "reason", reason)
			}
			host, waitsFor = blamed, reason
		}
		return false, nil
	})
	if err != nil && ctx.Err() != nil && host != "" {
		err = &StartError{Host: host, Err: fmt.Errorf("%s: %w", waitsFor, err)}
	}
	var start *StartError
	if errors.As(err, &start) {
		start.LogTail = tail(s.LogFile(start.Host))
	}
	return err
}

// ended returns an error if the host's process was started and has ended.
func (s *Sandbox) ended(host string) error {
	c := s.childOf(host)
	if c == nil {
		return nil
	}
	select {
	case <-c.done:
		reason := "exit status 0"
		if c.err != nil {
			reason = c.err.Error()
		}
		return &StartError{Host: host, Err: fmt.Errorf("its process ended: %s", reason)}
	default:
		return nil
	}
}

// copyKubeconfig never overwrites: the file can be the user's collection of clusters.
func (s *Sandbox) copyKubeconfig() error {
	if s.rec.Kubeconfig == "" {
		return nil
	}
	content, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.rec.Kubeconfig, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing the kubeconfig: %w", err)
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// StartError says which host kept a sandbox from becoming ready, and why.
type StartError struct {
	Host string
	Err  error
	// LogTail is the end of what the host's process printed.
	LogTail string
}

func (e *StartError) Error() string {
	tail := "it printed nothing"
	if e.LogTail != "" {
		tail = "the end of its log:\n    " + strings.ReplaceAll(e.LogTail, "\n", "\n    ")
	}
	return fmt.Sprintf("%s: %v; %s", e.Host, e.Err, tail)
}

func (e *StartError) Unwrap() error { return e.Err }

// tail returns a file's last lines, or as much of them as fits a screen.
func tail(file string) string {
	const maxBytes, maxLines = 4096, 20
	f, err := os.Open(file)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-maxBytes)
	buf := make([]byte, info.Size()-from)
	n, _ := f.ReadAt(buf, from)
	lines := strings.Split(strings.TrimSpace(string(buf[:n])), "\n")
	return strings.Join(lines[max(0, len(lines)-maxLines):], "\n")
}
