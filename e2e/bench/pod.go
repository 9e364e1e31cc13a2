package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/e2e/harness"
	"github.com/holt-project/holt/internal/client"
)

// podRuns is how many pods are started, one after the other. The first one's image may still have to be unpacked and
// does not count.
const podRuns = 30

// pod measures from the call that creates a pod until a watch shows that it runs.
func (b *bench) pod(ctx context.Context) ([]row, error) {
	if err := b.running(ctx); err != nil {
		return nil, err
	}
	var took []time.Duration
	for i := range podRuns + 2 {
		d, err := b.runPod(ctx, fmt.Sprintf("pod-%d", i))
		if err != nil {
			return nil, err
		}
		if i >= 2 { // one for each worker
			took = append(took, d)
		}
	}
	return []row{durations("create to Running of one pod, image present", took)}, nil
}

func (b *bench) runPod(ctx context.Context, name string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	api := b.cluster.API
	watch, err := api.Stream(ctx, client.Request{
		Method: http.MethodGet, Path: client.Path(harness.PodsKind, namespace, "", ""),
		Query: url.Values{"watch": {"1"}, "fieldSelector": {"metadata.name=" + name}}.Encode(),
	})
	if err != nil {
		return 0, err
	}
	defer func() { _ = watch.Close() }()
	begun := time.Now()
	if err := api.Create(ctx, harness.PodsKind, whoami(name)); err != nil {
		return 0, err
	}
	events := json.NewDecoder(watch)
	if err := awaitEvent(events, func(kind string, p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	now := int64(0)
	if err := api.Delete(ctx, harness.PodsKind, namespace, name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		return 0, err
	}
	return took, awaitEvent(events, func(kind string, _ *corev1.Pod) bool { return kind == "DELETED" })
}

// awaitEvent reads a watch until an event is the one.
func awaitEvent(events *json.Decoder, is func(kind string, p *corev1.Pod) bool) error {
	for {
		var event struct {
			Type   string
			Object corev1.Pod
		}
		if err := events.Decode(&event); err != nil {
			if errors.Is(err, io.EOF) {
				err = errors.New("the watch ended")
			}
			return err
		}
		if is(event.Type, &event.Object) {
			return nil
		}
	}
}

func whoami(name string) *corev1.Pod {
	return &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "whoami", Image: image}}},
	}
}
