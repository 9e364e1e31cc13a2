package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Defaults of Options.
const (
	DefaultName    = "default"
	DefaultServers = 3
	DefaultAgents  = 2
	DefaultTimeout = 3 * time.Minute
	DefaultPool    = "10.88.0.0/16"
	defaultRoot    = "/var/lib/holt/sandboxes"
)

// rootEnv names the environment variable that moves the folder of all sandboxes; tests use it.
const rootEnv = "HOLT_SANDBOX_ROOT"

// The limits come from how addresses are dealt out within a /24: see hostAddress.
const (
	maxServers = 89
	maxAgents  = 154
)

// Errors that callers may tell apart with errors.Is.
var (
	ErrNotRoot     = errors.New("a sandbox needs root: its hosts are network namespaces; run holt with sudo")
	ErrNotFound    = errors.New("no such sandbox")
	ErrExists      = errors.New("the sandbox exists already")
	ErrUnknownHost = errors.New("no such host")
	ErrBusy        = errors.New("another holt command is at work on it")
)

// Options describe the cluster that Up starts. The zero value of every field but Name, Servers and Agents is usable.
type Options struct {
	// Name is a DNS label, unique on the machine.
	Name string
	// Servers is from 1 to 89, Agents from 0 to 154.
	Servers, Agents int
	// Images is a folder that every agent imports images from; "" for none.
	Images string
	// Kubeconfig is where Up writes a second copy of the admin kubeconfig, and Down removes it; the file must not
	// exist. "" for none.
	Kubeconfig string
	// Root is the folder of all sandboxes; "" is $HOLT_SANDBOX_ROOT, or else /var/lib/holt/sandboxes.
	Root string
	// Binary is the program that hosts run; "" is the calling program.
	Binary string
	// Env is added to the environment of every host's process, as "KEY=value".
	Env []string
	// Pool is what the sandbox's /24 is taken from; the zero value is DefaultPool.
	Pool netip.Prefix
	// Timeout bounds the wait for the cluster to be ready; 0 is DefaultTimeout.
	Timeout time.Duration
	// Keep leaves a sandbox that did not become ready as it is, to be looked at.
	Keep bool
	// Log gets the progress; nil discards it.
	Log *slog.Logger
}

// complete returns a copy with every default filled in and every path absolute, or says what is wrong with o.
func (o Options) complete() (Options, error) {
	if err := validateName(o.Name); err != nil {
		return o, err
	}
	if o.Servers < 1 || o.Servers > maxServers {
		return o, fmt.Errorf("a sandbox has from 1 to %d servers, not %d", maxServers, o.Servers)
	}
	if o.Agents < 0 || o.Agents > maxAgents {
		return o, fmt.Errorf("a sandbox has from 0 to %d agents, not %d", maxAgents, o.Agents)
	}
	if o.Timeout < 0 {
		return o, fmt.Errorf("the timeout must be positive, not %s", o.Timeout)
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if !o.Pool.IsValid() {
		o.Pool = netip.MustParsePrefix(DefaultPool)
	}
	if !o.Pool.Addr().Is4() || o.Pool.Bits() < 16 || o.Pool.Bits() > 24 {
		return o, fmt.Errorf("the subnet pool must be an IPv4 prefix from /16 to /24, not %s", o.Pool)
	}
	o.Pool = o.Pool.Masked()
	// Before the paths: without root some of them cannot even be looked at.
	if err := requireRoot(); err != nil {
		return o, err
	}
	return o.completePaths()
}

func (o Options) completePaths() (Options, error) {
	var err error
	if o.Root, err = rootFolder(o.Root); err != nil {
		return o, err
	}
	if o.Binary == "" {
		if o.Binary, err = os.Executable(); err != nil {
			return o, fmt.Errorf("finding the holt binary: %w", err)
		}
	}
	if o.Binary, err = filepath.Abs(o.Binary); err != nil {
		return o, err
	}
	if info, err := os.Stat(o.Binary); err != nil {
		return o, fmt.Errorf("the binary for hosts: %w", err)
	} else if !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return o, fmt.Errorf("the binary for hosts, %s, is not an executable file", o.Binary)
	}
	if o.Images != "" {
		if o.Images, err = filepath.Abs(o.Images); err != nil {
			return o, err
		}
		if info, err := os.Stat(o.Images); err != nil {
			return o, fmt.Errorf("the images folder: %w", err)
		} else if !info.IsDir() {
			return o, fmt.Errorf("the images folder, %s, is not a folder", o.Images)
		}
	}
	if o.Kubeconfig != "" {
		if o.Kubeconfig, err = filepath.Abs(o.Kubeconfig); err != nil {
			return o, err
		}
		if _, err := os.Lstat(o.Kubeconfig); err == nil {
			return o, fmt.Errorf("%s exists and is not overwritten; name another file for the kubeconfig", o.Kubeconfig)
		}
		if info, err := os.Stat(filepath.Dir(o.Kubeconfig)); err != nil || !info.IsDir() {
			return o, fmt.Errorf("the kubeconfig cannot be written: %s is not a folder", filepath.Dir(o.Kubeconfig))
		}
	}
	return o, nil
}

func validateName(name string) error {
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 {
		return fmt.Errorf("sandbox name %q: %s", name, problems[0])
	}
	return nil
}

// rootFolder resolves symbolic links as far as the folder exists, because the kernel lists mounts by real paths.
func rootFolder(root string) (string, error) {
	if root == "" {
		root = os.Getenv(rootEnv)
	}
	if root == "" {
		root = defaultRoot
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	rest := ""
	for existing := root; ; existing = filepath.Dir(existing) {
		if real, err := filepath.EvalSymlinks(existing); err == nil {
			return filepath.Join(real, rest), nil
		} else if errors.Is(err, os.ErrPermission) {
			return "", ErrNotRoot
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("the sandboxes' folder %s: %w", root, err)
		}
		rest = filepath.Join(filepath.Base(existing), rest)
	}
}

func requireRoot() error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	return nil
}
