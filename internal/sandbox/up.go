package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/holt-project/holt/internal/folder"
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
	if err := folder.WriteFile(filepath.Join(s.dir, resolvConfFile), resolvers); err != nil {
		return err
	}
	var booting errgroup.Group
	for _, h := range s.hosts {
		booting.Go(func() error { return h.boot(ctx) })
	}
	if err := booting.Wait(); err != nil {
		return err
	}
	w := &watch{hosts: s.hosts, log: s.log}
	if err := s.startFirst(ctx, w); err != nil {
		return err
	}
	for _, h := range s.hosts[1:] {
		if err := h.spawn(); err != nil {
			return err
		}
	}
	cluster, err := s.admin.cluster()
	if err != nil {
		return err
	}
	if err := w.awaitReady(ctx, cluster); err != nil {
		return err
	}
	return s.admin.publish()
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
	s.adopt(&rec)
	s.log.Info("making the sandbox", "name", rec.Name, "subnet", rec.Subnet, "folder", s.dir)
	if err := s.lan.makeBridge(); err != nil {
		return err
	}
	if err := s.lan.setForwarding(); err != nil {
		return err
	}
	return s.groups.make(filepath.Join(cgroupTop, rec.Name))
}

// startFirst starts the server that makes the cluster, and copies what the others need from it to the sandbox's
// folder, so that they do not depend on the first host's disk.
func (s *Sandbox) startFirst(ctx context.Context, w *watch) error {
	first := s.hosts[0]
	if err := first.spawn(); err != nil {
		return err
	}
	adminConfig := filepath.Join(first.paths.data, "admin.kubeconfig")
	copies := []struct{ from, to string }{
		{filepath.Join(first.paths.data, "server-token"), filepath.Join(s.dir, serverTokenFile)},
		{filepath.Join(first.paths.data, "agent-token"), filepath.Join(s.dir, agentTokenFile)},
	}
	return w.await(ctx, func() (blamed *host, waitsFor string, err error) {
		config, err := os.ReadFile(adminConfig)
		if err != nil {
			return first, err.Error(), nil
		}
		cluster, err := newCluster(config, s.rec.servers())
		if err != nil {
			return first, err.Error(), nil // perhaps written in part
		}
		if _, reason := serves(ctx, cluster, first.Address); reason != "" {
			return first, reason, nil
		}
		for _, c := range copies {
			content, err := os.ReadFile(c.from)
			if err != nil {
				return first, err.Error(), nil
			}
			if err := folder.WriteFile(c.to, content); err != nil {
				return nil, "", err
			}
		}
		if err := s.admin.adopt(config, s.rec.Hosts); err != nil {
			return nil, "", err
		}
		s.log.Info("the first server serves", "host", first.Name, "address", first.Address)
		return nil, "", nil
	})
}
