package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// Sandbox is a handle on a sandbox. Any number may exist for one sandbox, in any number of processes.
type Sandbox struct {
	dir    string
	groups cgroups
	log    *slog.Logger

	// What follows is set by adopt, and not changed after that.
	rec   *record // nil until Up has planned what the sandbox consists of
	lan   lan
	admin kubeconfig
	hosts []*host // in the record's order
}

// States of a host.
const (
	StateRunning = "running"
	StatePaused  = "paused"
	StateCut     = "cut"
	// StateStopped means that no holt process runs on the host; pods may.
	StateStopped = "stopped"
)

// Host is a host at one moment.
type Host struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Address string `json:"address"`
	// PID is of the holt process, 0 if the host is stopped.
	PID int `json:"pid"`
	// State is stopped, paused, cut or running: the first of these that holds.
	State string `json:"state"`
	// Leader is false also of a leader that cannot be asked: one that is paused or cut.
	Leader bool `json:"leader"`
	// NetNS is the name of the host's network namespace, as for ip netns exec.
	NetNS string `json:"netns"`
}

// Load returns a handle on a sandbox that Up started, below $HOLT_SANDBOX_ROOT or else /var/lib/holt/sandboxes. The
// error wraps ErrNotFound if there is none.
func Load(name string) (*Sandbox, error) {
	dir, err := folderOf(name)
	if err != nil {
		return nil, err
	}
	return load(dir)
}

func load(dir string) (*Sandbox, error) {
	name := filepath.Base(dir)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil, notFound(name)
	} else if errors.Is(err, os.ErrPermission) {
		return nil, ErrNotRoot
	}
	rec, err := readRecord(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("sandbox %s was never completed: remove it with: holt down --name %s", name, name)
	}
	if errors.Is(err, os.ErrPermission) {
		return nil, ErrNotRoot
	}
	if err != nil {
		return nil, err
	}
	return newSandbox(dir, rec, slog.New(slog.DiscardHandler))
}

func newSandbox(dir string, rec *record, log *slog.Logger) (*Sandbox, error) {
	groups, err := findCgroups()
	if err != nil {
		return nil, err
	}
	s := &Sandbox{dir: dir, groups: groups, log: log}
	if rec != nil {
		s.adopt(rec)
	}
	return s, nil
}

// adopt makes the record's hosts be the sandbox's.
func (s *Sandbox) adopt(rec *record) {
	s.rec, s.lan = rec, rec.lan(s.dir)
	s.admin = kubeconfig{file: s.Kubeconfig(), copy: rec.Kubeconfig, servers: rec.servers()}
	for _, h := range rec.Hosts {
		s.hosts = append(s.hosts, &host{
			hostRecord: h, paths: hostPaths(s.dir, h.Name), cgroup: rec.cgroup(h), env: rec.Env, groups: s.groups, lan: s.lan,
		})
	}
}

// joinAll waits until all processes that this handle started were reaped.
func (s *Sandbox) joinAll() {
	for _, h := range s.hosts {
		h.reapers.Wait()
	}
}

// List returns the names of all sandboxes, sorted, including those that an interrupted Up left behind.
func List() ([]string, error) {
	root, err := rootFolder("")
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() && validateName(e.Name()) == nil {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func folderOf(name string) (string, error) {
	if err := validateName(name); err != nil {
		return "", err
	}
	root, err := rootFolder("")
	if err != nil {
		return "", err
	}
	return filepath.Join(root, name), nil
}

func notFound(name string) error {
	return fmt.Errorf("sandbox %s: %w; start one with: holt up --name %s", name, ErrNotFound, name)
}

// Name is the sandbox's name.
func (s *Sandbox) Name() string { return s.rec.Name }

// Dir is the sandbox's folder; a host's data, log and run folders are in hosts/HOST below it.
func (s *Sandbox) Dir() string { return s.dir }

// Kubeconfig is the path of the administrator's kubeconfig: its current context is the first server's, and each server
// has a context of its name.
func (s *Sandbox) Kubeconfig() string { return filepath.Join(s.dir, kubeconfigFile) }

// LogFile is the path of what a host's holt process prints, over all its starts.
func (s *Sandbox) LogFile(host string) string { return hostPaths(s.dir, host).logFile }

// DataDir is the path of what a host's holt process keeps.
func (s *Sandbox) DataDir(host string) string { return hostPaths(s.dir, host).data }

// Hosts lists the hosts, servers first. Only a server that runs and answers within two seconds can be the leader.
func (s *Sandbox) Hosts(ctx context.Context) ([]Host, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cluster, err := s.admin.cluster()
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	hosts := make([]Host, len(s.hosts))
	var group errgroup.Group
	for i, h := range s.hosts {
		group.Go(func() (err error) {
			if hosts[i], err = h.inspect(); err != nil {
				return err
			}
			if cluster != nil && h.Role == RoleServer && hosts[i].State == StateRunning {
				// One that does not answer does not lead, as far as anybody here can know.
				hosts[i].Leader, _ = cluster.Status(ctx, h.Address)
			}
			return nil
		})
	}
	return hosts, group.Wait()
}
