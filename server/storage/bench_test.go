package storage_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/storage"
)

// BenchmarkSelectiveWatch is what a watch costs for each change that its field selector keeps from it: an agent's, by
// the indexed field, and one by a field that only the kind can tell. Of 500 changes the last is let through.
func BenchmarkSelectiveWatch(b *testing.B) {
	const changes = 500
	s := newMemory()
	pods := kinds.Builtin().ByStore("pods")
	var ops []fsm.Op
	for i := range changes {
		own := fmt.Sprint("own-", i)
		raw, err := pods.Encode(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: own},
			Spec:       corev1.PodSpec{NodeName: own}, Status: corev1.PodStatus{PodIP: own},
		})
		if err != nil {
			b.Fatal(err)
		}
		ops = append(ops, fsm.Op{Verb: fsm.Create, Resource: "pods", Namespace: "n", Name: own, Raw: raw})
	}
	if _, err := s.Propose(b.Context(), ops); err != nil {
		b.Fatal(err)
	}
	for _, field := range []string{"spec.nodeName", "status.podIP"} {
		b.Run(field, func(b *testing.B) {
			o := storage.ListOptions{ResourceVersion: "1", FieldSelector: fields.OneTermEqualSelector(field, fmt.Sprint("own-", changes-1))}
			b.ReportAllocs()
			for b.Loop() {
				w, err := s.Watch(b.Context(), storage.Scope{Kind: pods}, o)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/changes, "ns/event")
		})
	}
}
