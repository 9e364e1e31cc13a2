package pods

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Manager runs the pods of a node.
type Manager struct {
	cfg   Config
	parts Parts
	log   *slog.Logger
	kick  chan struct{} // holds one wake-up
	// oomFloor is the least OOM score that containers can be given.
	oomFloor int
	// capabilities that containers can be given, as a mask.
	capabilities uint64

	mu      sync.Mutex
	workers map[types.UID]*worker // guarded by mu
}

// New makes a Manager; nothing happens before Run.
func New(cfg Config, parts Parts, log *slog.Logger) *Manager {
	return &Manager{cfg: cfg.withDefaults(), parts: parts, log: log,
		kick: make(chan struct{}, 1), workers: map[types.UID]*worker{},
		oomFloor: lowestOOMScore(), capabilities: ownCapabilities()}
}

// Sync tells that something in the desired set may have changed. It is cheap and does not block.
func (m *Manager) Sync() {
	select {
	case m.kick <- struct{}{}:
	default:
	}
}

// Run finds the pods that an earlier agent left, and then keeps desired and running pods the same until ctx ends.
// Pods that run are not touched by its end. It fails only if its folders cannot be used.
func (m *Manager) Run(ctx context.Context) error {
	var group sync.WaitGroup
	defer group.Wait()
	if err := os.MkdirAll(m.cfg.LogDir, 0o755); err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	known, err := m.onDisk()
	if err != nil {
		return err
	}
	desired := m.desired()
	for _, uid := range known {
		m.start(ctx, &group, uid, desired[uid])
	}
	for {
		m.reconcile(ctx, &group)
		select {
		case <-m.kick:
		case <-ctx.Done():
			return nil
		}
	}
}

// onDisk lists the pods that have left something on this node.
func (m *Manager) onDisk() ([]types.UID, error) {
	seen := map[types.UID]bool{}
	var out []types.UID
	for _, root := range []string{m.cfg.DataDir, m.cfg.RunDir} {
		dir := filepath.Join(root, "pods")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("pods: %w", err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("pods: %w", err)
		}
		for _, e := range entries {
			if uid := types.UID(e.Name()); e.IsDir() && !seen[uid] {
				seen[uid] = true
				out = append(out, uid)
			}
		}
	}
	return out, nil
}

func (m *Manager) desired() map[types.UID]*corev1.Pod {
	out := map[types.UID]*corev1.Pod{}
	for _, pod := range m.parts.Sources.Pods() {
		// The UID becomes the name of folders and of a cgroup.
		if uid := string(pod.UID); uid == "" || strings.ContainsAny(uid, "/\x00") || uid == "." || uid == ".." {
			m.log.Error("a pod without a usable UID is left alone", "pod", pod.Namespace+"/"+pod.Name)
			continue
		}
		out[pod.UID] = pod
	}
	return out
}

// reconcile gives every desired pod a worker, and tells each worker what is desired of it.
func (m *Manager) reconcile(ctx context.Context, group *sync.WaitGroup) {
	desired := m.desired()
	m.mu.Lock()
	for uid, w := range m.workers {
		w.update(desired[uid])
		delete(desired, uid)
	}
	m.mu.Unlock()
	for uid, pod := range desired {
		m.start(ctx, group, uid, pod)
	}
}

func (m *Manager) start(ctx context.Context, group *sync.WaitGroup, uid types.UID, pod *corev1.Pod) {
	w := newWorker(m, uid, pod)
	m.mu.Lock()
	m.workers[uid] = w
	m.mu.Unlock()
	group.Go(func() {
		w.run(ctx)
		m.mu.Lock()
		delete(m.workers, uid)
		m.mu.Unlock()
	})
}
