package harness

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/internal/client"
)

// writeTimeout bounds one write: what a lost leader had in hand is answered by nobody.
const writeTimeout = time.Second

// Writer creates ConfigMaps without a pause and remembers which of them the cluster acknowledged.
type Writer struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex // guards what follows
	acked  []string
	failed int
	last   error
}

// StartWriter begins to write through one client, from several goroutines, in a namespace that exists.
func StartWriter(ctx context.Context, c *client.Client, namespace, prefix string, goroutines int) *Writer {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writer{cancel: cancel}
	for g := range goroutines {
		w.done.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				name := fmt.Sprintf("%s-%d-%d", prefix, g, i)
				err := WriteConfigMap(ctx, c, namespace, name)
				w.record(name, err)
				if err != nil {
					pause(ctx, awaitPause)
				}
			}
		})
	}
	return w
}

// WriteConfigMap creates one, within a second.
func WriteConfigMap(ctx context.Context, c *client.Client, namespace, name string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return c.Create(ctx, ConfigMaps, &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Data:       map[string]string{"written": name},
	})
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (w *Writer) record(name string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.acked = append(w.acked, name)
		return
	}
	w.failed++
	w.last = err
}

// Acked counts the acknowledged writes so far, and tells the last failure, if any.
func (w *Writer) Acked() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked), w.last
}

// Stop ends the writer and returns the names that were acknowledged, and how many attempts failed.
func (w *Writer) Stop() (acked []string, failed int) {
	w.cancel()
	w.done.Wait()
	return w.acked, w.failed
}
