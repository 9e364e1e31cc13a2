package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	ociv1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
)

const (
	// blobAttempts bounds how often a blob is fetched; requests are retried by the library besides.
	blobAttempts = 3
	// parallelBlobs bounds the downloads of one pull.
	parallelBlobs = 3
)

// Pull fetches an image by tag or digest and unpacks what is missing of it. Calls for one reference with the same
// credentials share the work. Errors: ErrInvalidName, ErrNotFound, ErrUnauthorized, ErrPlatform, ErrTooLarge,
// ErrUnsafe, ErrCorrupt, ErrClosed, the context's, and others for what may pass, such as a network that is down.
func (s *Store) Pull(ctx context.Context, ref string, auth Auth) (Image, error) {
	full, err := Normalize(ref)
	if err != nil {
		return Image{}, err
	}
	key := flightKey{full, auth}
	f, err := s.flights.board(key, func(ctx context.Context) (Image, error) {
		img, err := s.pull(ctx, full, auth)
		if err != nil && s.flights.ctx.Err() != nil {
			err = ErrClosed
		}
		if err != nil {
			return Image{}, fmt.Errorf("pull %s: %w", full, typed(err))
		}
		s.log.Info("image pulled", "name", full, "image", img.ID)
		return img, nil
	})
	if err != nil {
		return Image{}, err
	}
	return s.flights.wait(ctx, key, f)
}

// fetch is one pull at work.
type fetch struct {
	store  *Store
	ref    name.Reference
	puller *remote.Puller
	dir    string // downloads, removed at the end
}

func (s *Store) pull(ctx context.Context, full string, auth Auth) (img Image, err error) {
	f, err := s.newFetch(full, auth)
	if err != nil {
		return Image{}, err
	}
	if f.dir, err = os.MkdirTemp(s.dir.tmp(), "pull-"); err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(f.dir)) }()
	p, blobs, err := f.plan(ctx)
	if err != nil {
		return Image{}, err
	}
	// Downloads run ahead of the unpacking, which takes layer after layer.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, gctx := errgroup.WithContext(ctx)
	if err = f.startDownloads(gctx, group, p, blobs); err == nil {
		img, err = s.install(ctx, p)
	}
	cancel()
	// One failed download cancels the others, and it is the reason to tell.
	if first := group.Wait(); err != nil && first != nil && !errors.Is(first, context.Canceled) {
		err = first
	}
	return img, err
}

func (s *Store) newFetch(full string, auth Auth) (*fetch, error) {
	ref, err := parseRef(full)
	if err != nil {
		return nil, err
	}
	host := ref.Context().RegistryStr()
	plain := slices.Clone(s.opts.PlainHTTP)
	if isLoopback(host) {
		plain = append(plain, host)
	}
	if slices.Contains(plain, host) {
		if ref, err = parseRef(full, name.Insecure); err != nil {
			return nil, err
		}
	}
	credentials := remote.WithAuthFromKeychain(s.opts.Keychain)
	if auth != (Auth{}) {
		credentials = remote.WithAuth(authn.FromConfig(auth))
	}
	puller, err := remote.NewPuller(credentials,
		remote.WithTransport(guard{s.transport, plain}),
		remote.WithUserAgent("holt"),
		remote.WithRetryBackoff(remote.Backoff{Duration: s.opts.RetryDelay, Factor: 2, Jitter: 0.2, Steps: 3}))
	if err != nil {
		return nil, err
	}
	return &fetch{store: s, ref: ref, puller: puller}, nil
}

// plan fetches the manifest for this node and the configuration.
func (f *fetch) plan(ctx context.Context) (*plan, []ociv1.Descriptor, error) {
	top, err := f.puller.Get(ctx, f.ref)
	if err != nil {
		return nil, nil, err
	}
	m, isIndex, err := parseManifest(top.Manifest, string(top.MediaType))
	if err != nil {
		return nil, nil, err
	}
	chosen := top
	if isIndex {
		d, err := choose(m.Manifests)
		if err != nil {
			return nil, nil, err
		}
		if chosen, err = f.puller.Get(ctx, f.ref.Context().Digest(d.Digest.String())); err != nil {
			return nil, nil, err
		}
		if m, isIndex, err = parseManifest(chosen.Manifest, d.MediaType); err != nil {
			return nil, nil, err
		}
		if isIndex {
			return nil, nil, fmt.Errorf("%w: an index within an index", ErrCorrupt)
		}
	}
	config, err := f.config(ctx, m.Config)
	if err != nil {
		return nil, nil, err
	}
	p, err := newPlan(config)
	if err != nil {
		return nil, nil, err
	}
	p.digest = chosen.Digest.String()
	p.names = namesOf(f.ref, top.Digest.String(), chosen.Digest.String())
	return p, m.Layers, nil
}

func (f *fetch) config(ctx context.Context, d ociv1.Descriptor) ([]byte, error) {
	if d.Size > maxMetadata {
		return nil, fmt.Errorf("%w: configuration of %d bytes, the limit is %d", ErrTooLarge, d.Size, maxMetadata)
	}
	file := filepath.Join(f.dir, "config")
	if err := f.download(ctx, d, file); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
}

// startDownloads fetches the layers that the store lacks, and makes each layer's source wait for its file.
func (f *fetch) startDownloads(ctx context.Context, group *errgroup.Group, p *plan, blobs []ociv1.Descriptor) error {
	if err := checkDownloadSize(blobs, f.store.opts.MaxUnpacked); err != nil {
		return err
	}
	if err := p.checkLayers(len(blobs)); err != nil {
		return err
	}
	slots := make(chan struct{}, parallelBlobs)
	for i, blob := range blobs {
		file := filepath.Join(f.dir, fmt.Sprintf("layer-%d", i))
		if f.store.dir.hasLayer(p.chain[i]) {
			// Only if it is removed meanwhile is it needed after all.
			p.layers[i].open = func(ctx context.Context) (io.ReadCloser, error) {
				if err := f.download(ctx, blob, file); err != nil {
					return nil, err
				}
				return os.Open(file)
			}
			continue
		}
		ready := make(chan error, 1)
		group.Go(func() error {
			err := f.downloadInTurn(ctx, slots, blob, file)
			ready <- err
			return err
		})
		p.layers[i].open = func(ctx context.Context) (io.ReadCloser, error) {
			select {
			case err := <-ready:
				if err != nil {
					return nil, err
				}
				return os.Open(file)
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
	return nil
}

func checkDownloadSize(blobs []ociv1.Descriptor, limit int64) error {
	for _, b := range blobs {
		if limit -= b.Size; limit < 0 {
			return fmt.Errorf("%w: its compressed layers exceed the limit of bytes", ErrTooLarge)
		}
	}
	return nil
}

func (f *fetch) downloadInTurn(ctx context.Context, slots chan struct{}, blob ociv1.Descriptor, file string) error {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return f.download(ctx, blob, file)
}

// download writes a verified blob to a file, trying again after failures that may pass.
func (f *fetch) download(ctx context.Context, blob ociv1.Descriptor, file string) error {
	for attempt, delay := 1, f.store.opts.RetryDelay; ; attempt, delay = attempt+1, 2*delay {
		err := f.downloadOnce(ctx, blob, file)
		if err == nil || attempt == blobAttempts || ctx.Err() != nil || permanent(err) {
			return err
		}
		f.store.log.Warn("fetching again", "image", f.ref, "blob", blob.Digest, "err", err)
		select {
		case <-time.After(delay + rand.N(delay/4+1)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *fetch) downloadOnce(ctx context.Context, blob ociv1.Descriptor, file string) (err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	layer, err := f.puller.Layer(ctx, f.ref.Context().Digest(blob.Digest.String()))
	if err != nil {
		return err
	}
	body, err := layer.Compressed()
	if err != nil {
		return err
	}
	content := verified(watchStall(ctx, cancel, body, f.store.opts.StallTimeout), blob.Digest, blob.Size)
	defer content.Close()
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

// permanent tells that another attempt would fail alike. Corruption is not permanent: it may be the network's.
func permanent(err error) bool {
	err = typed(err)
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrTooLarge)
}

// typed gives a registry's answers the package's errors.
func typed(err error) error {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err
	}
	has := func(codes ...transport.ErrorCode) bool {
		return slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return slices.Contains(codes, d.Code) })
	}
	switch {
	case answer.StatusCode == http.StatusNotFound,
		has(transport.ManifestUnknownErrorCode, transport.NameUnknownErrorCode, transport.BlobUnknownErrorCode):
		return fmt.Errorf("%w: %s", ErrNotFound, oneLine(err))
	case answer.StatusCode == http.StatusUnauthorized, answer.StatusCode == http.StatusForbidden,
		has(transport.UnauthorizedErrorCode, transport.DeniedErrorCode):
		return fmt.Errorf("%w: %s", ErrUnauthorized, oneLine(err))
	}
	return err
}

// oneLine keeps what a registry says fit for a log and for a pod's status.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if len(text) > 500 {
		text = text[:500] + "..."
	}
	return text
}
