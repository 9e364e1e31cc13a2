package image

import (
	"context"
	_ "crypto/sha256" // digests panic in a program that does not link it
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// layerInfo is the content of a layer's layer.json.
type layerInfo struct {
	DiffID  string `json:"diffID"`
	Size    int64  `json:"size"`    // bytes in its files
	Entries int64  `json:"entries"` // files and folders
}

// layers unpacks layers. Its methods may be called concurrently.
type layers struct {
	dir       folder
	log       *slog.Logger
	unpacking keyedLocks // by chain ID
}

// ensure unpacks the layer chain[i] unless it is there, and charges the budget for it either way. The
// layers below it must be there.
func (l *layers) ensure(ctx context.Context, chain []string, i int, src layerSource, b *budget) (layerInfo, error) {
	unlock, err := l.unpacking.lock(ctx, chain[i])
	if err != nil {
		return layerInfo{}, err
	}
	defer unlock()
	if l.dir.hasLayer(chain[i]) {
		info, err := l.dir.layerInfo(chain[i])
		if err != nil {
			return info, err
		}
		return info, b.take(info.Size, info.Entries)
	}
	tmp, err := os.MkdirTemp(l.dir.tmp(), "layer-")
	if err != nil {
		return layerInfo{}, err
	}
	info, err := l.unpackInto(ctx, tmp, chain[:i], src, b)
	if err == nil {
		err = l.publish(tmp, chain[i])
	}
	if err != nil {
		return info, errors.Join(err, os.RemoveAll(tmp))
	}
	return info, nil
}

// unpackInto fills tmp with a layer's fs folder and layer.json, and verifies what it unpacked.
func (l *layers) unpackInto(ctx context.Context, tmp string, below []string, src layerSource, b *budget) (layerInfo, error) {
	root := filepath.Join(tmp, "fs")
	if err := os.Mkdir(root, 0o755); err != nil {
		return layerInfo{}, err
	}
	if err := os.Chmod(root, 0o755); err != nil { // whatever the umask
		return layerInfo{}, err
	}
	parents := make([]string, 0, len(below))
	for _, id := range slices.Backward(below) {
		parents = append(parents, l.dir.layerFS(id))
	}
	content, err := src.open(ctx)
	if err != nil {
		return layerInfo{}, err
	}
	defer content.Close()
	entriesBefore := b.entries
	got, size, err := l.unpack(ctx, root, parents, content, b)
	if err != nil {
		return layerInfo{}, err
	}
	// What follows the compressed stream belongs to the blob: its digest is verified at its end.
	if _, err := io.Copy(io.Discard, content); err != nil {
		return layerInfo{}, err
	}
	if got != src.diffID {
		return layerInfo{}, fmt.Errorf("%w: layer unpacks to %s, the image's configuration says %s", ErrCorrupt, got, src.diffID)
	}
	info := layerInfo{DiffID: src.diffID.String(), Size: size, Entries: entriesBefore - b.entries}
	return info, l.dir.writeJSON(filepath.Join(tmp, "layer.json"), info)
}

// publish makes a finished layer durable and moves it to its place.
func (l *layers) publish(tmp, chainID string) error {
	f, err := os.Open(tmp)
	if err != nil {
		return err
	}
	// One syncfs costs far less than an fsync of every file of a layer.
	if err := errors.Join(unix.Syncfs(int(f.Fd())), f.Close()); err != nil {
		return fmt.Errorf("sync layer %s: %w", chainID, err)
	}
	if err := os.Rename(tmp, l.dir.layer(chainID)); err != nil {
		return err
	}
	return syncDir(l.dir.layers())
}

// verified reads a blob and fails at its end unless size and digest are as promised.
func verified(rc io.ReadCloser, want digest.Digest, size int64) io.ReadCloser {
	return &verifier{rc: rc, want: want, size: size, hash: want.Algorithm().Digester()}
}

type verifier struct {
	rc   io.ReadCloser
	want digest.Digest
	size int64 // not checked if negative
	seen int64
	hash digest.Digester
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.rc.Read(p)
	v.seen += int64(n)
	_, _ = v.hash.Hash().Write(p[:n])
	if v.size >= 0 && v.seen > v.size {
		return n, fmt.Errorf("%w: blob %s is longer than its %d bytes", ErrCorrupt, v.want, v.size)
	}
	if err != io.EOF {
		return n, err
	}
	if v.size >= 0 && v.seen != v.size {
		return n, fmt.Errorf("%w: blob %s ends after %d of %d bytes", ErrCorrupt, v.want, v.seen, v.size)
	}
	if got := v.hash.Digest(); got != v.want {
		return n, fmt.Errorf("%w: blob %s has the digest %s", ErrCorrupt, v.want, got)
	}
	return n, io.EOF
}

func (v *verifier) Close() error { return v.rc.Close() }

// keyedLocks is a mutex per key that a context can give up on. The zero value is ready.
type keyedLocks struct {
	mu   sync.Mutex
	held map[string]chan struct{} // closed on unlock
}

func (k *keyedLocks) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		busy, taken := k.held[key]
		if !taken {
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			k.held[key] = mine
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				delete(k.held, key)
				k.mu.Unlock()
				close(mine)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
