package image

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// Image is one image of the store. It is a value; callers must not change what its slices and maps hold.
type Image struct {
	// ID is the digest of the image's configuration, "sha256:...".
	ID string
	// Digest is that of the manifest of this platform; empty for docker-save archives, which have none.
	Digest string
	// Names are normalized references, sorted: tags (docker.io/library/x:1) and digests (repo@sha256:...).
	Names []string
	// Size is the number of bytes in the image's files, unpacked, shared layers included.
	Size int64
	// Config is what the image says about how to run it. It is the image author's: do not trust it.
	Config ociv1.ImageConfig
	// Layers are chain IDs, the lowest layer first.
	Layers []string
}

// Options tune a Store. The zero value is usable.
type Options struct {
	// PlainHTTP lists registries ("host" or "host:port") that may be reached without TLS. A registry on this
	// machine's loopback may always.
	PlainHTTP []string
	// Keychain gives credentials to pulls that bring none. Nil means anonymous.
	Keychain authn.Keychain
	// RootCAs are the authorities that registries' certificates are checked against. Nil means the system's.
	RootCAs *x509.CertPool
	// MaxUnpacked bounds an image's bytes, both of its uncompressed layers and of the files in them.
	// Zero means 32 GiB.
	MaxUnpacked int64
	// MaxEntries bounds the number of files and folders of an image. Zero means two million.
	MaxEntries int64
	// DialTimeout bounds connecting and the TLS handshake, each. Zero means 10 s.
	DialTimeout time.Duration
	// ResponseTimeout bounds the wait for a response to begin. Zero means 30 s.
	ResponseTimeout time.Duration
	// StallTimeout ends a transfer of which nothing arrives for so long. Zero means 60 s.
	StallTimeout time.Duration
	// RetryDelay is the pause before the second attempt of a failed transfer; it doubles. Zero means 500 ms.
	RetryDelay time.Duration
}

func (o Options) withDefaults() Options {
	orInt := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	orTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	orInt(&o.MaxUnpacked, 32<<30)
	orInt(&o.MaxEntries, 2_000_000)
	orTime(&o.DialTimeout, 10*time.Second)
	orTime(&o.ResponseTimeout, 30*time.Second)
	orTime(&o.StallTimeout, 60*time.Second)
	orTime(&o.RetryDelay, 500*time.Millisecond)
	if o.Keychain == nil {
		o.Keychain = authn.NewMultiKeychain()
	}
	return o
}

// Store holds a node's images. Make one with Open.
type Store struct {
	dir       folder
	opts      Options
	log       *slog.Logger
	lock      *os.File
	transport *http.Transport
	layers    *layers
	catalog   *catalog
	flights   *flights
	importing sync.Mutex // serializes imports, and guards imports.json
}

// Open takes the folder dir, making it if need be, and sweeps what a crash may have left there. It fails if
// another process holds the folder.
func Open(dir string, opts Options, log *slog.Logger) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	d := folder(dir)
	for _, sub := range []string{dir, d.images(), d.layers(), d.tmp()} {
		if err := os.MkdirAll(sub, 0o700); err != nil {
			return nil, fmt.Errorf("image store: %w", err)
		}
	}
	// Layers keep setuid bits: a user of the node must not reach them even if the folder was made with
	// wider permissions.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	lock, err := lockFile(d.path("lock"))
	if err != nil {
		return nil, err
	}
	c := newCatalog(d, log)
	if err := c.recover(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	opts = opts.withDefaults()
	return &Store{dir: d, opts: opts, log: log, lock: lock, transport: newTransport(opts),
		layers: &layers{dir: d, log: log}, catalog: c, flights: newFlights()}, nil
}

func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("image store %s is in use by another process; stop it, or choose another folder: %w",
			filepath.Dir(path), err)
	}
	return f, nil
}

// Close ends the pulls in progress, waits for them and releases the folder. Mounts stay. It may be called
// twice.
func (s *Store) Close() error {
	if !s.flights.close() {
		return nil
	}
	s.transport.CloseIdleConnections()
	return s.lock.Close()
}

// Lookup finds an image by tag, by digest or by ID, normalizing names as docker does.
func (s *Store) Lookup(ref string) (Image, bool) { return s.catalog.lookup(ref) }

// List gives all images, ordered by ID.
func (s *Store) List() []Image { return s.catalog.list() }

// Remove takes a name away from its image; with its last tag, or by ID or digest, the image goes, and with it
// the layers that no other image has. Whether it is in use is the caller's business: a mounted image loses its
// files. The error is ErrNotFound if there is no such image.
func (s *Store) Remove(ctx context.Context, ref string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.catalog.remove(ref)
}
