package eventttl_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	ct "github.com/holt-project/holt/server/controllers/controllertest"
	"github.com/holt-project/holt/server/controllers/eventttl"
)

func TestEventsGoAnHourAfterTheyWereSeenLast(t *testing.T) {
	c := ct.New(t)
	c.Now = time.Now().Truncate(time.Second)
	event := func(name string, change func(*corev1.Event)) {
		e := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name}, Reason: "Pulled",
			Action: "Pull", ReportingController: "agent", ReportingInstance: "worker-1",
			InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "p"}}
		change(e)
		c.Create(e)
	}
	later := c.Now.Add(10 * time.Minute)
	event("created", func(*corev1.Event) {})
	event("counted", func(e *corev1.Event) { e.LastTimestamp = metav1.NewTime(later) })
	event("new-style", func(e *corev1.Event) { e.EventTime = metav1.NewMicroTime(later) })
	event("series", func(e *corev1.Event) { e.Series = &corev1.EventSeries{LastObservedTime: metav1.NewMicroTime(later)} })
	loop := c.Loop(eventttl.New())
	left := func(want int) {
		t.Helper()
		c.Settle(nil, loop)
		if n := len(ct.List[*corev1.Event](c)); n != want {
			t.Fatalf("%d events are left, want %d", n, want)
		}
	}
	left(4)
	c.Now = loop.Next().Add(time.Second)
	left(3)
	c.Now = later.Add(59 * time.Minute)
	left(3)
	c.Now = later.Add(time.Hour)
	left(0)
	if !loop.Next().IsZero() {
		t.Error("a timer is left")
	}
}
