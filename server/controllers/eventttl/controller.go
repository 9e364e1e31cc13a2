package eventttl

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

const (
	resource = "events"
	lifetime = time.Hour
)

// New returns the controller.
func New() controllers.Controller {
	return controllers.Controller{
		Name:    "event-ttl-controller",
		Watches: map[string]func(fsm.View, *fsm.Object) []fsm.Key{resource: controllers.Self},
		Plan:    plan,
	}
}

func plan(v fsm.View, key fsm.Key, now time.Time) controllers.Plan {
	var p controllers.Plan
	stored, ok := v.Get(key)
	if !ok {
		return p
	}
	if ends := lastSeen(stored.Value.(*corev1.Event)).Add(lifetime); now.Before(ends) {
		p.At(ends)
	} else {
		p.Delete(resource, stored.Value)
	}
	return p
}

func lastSeen(e *corev1.Event) time.Time {
	last := e.CreationTimestamp.Time
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time} {
		if t.After(last) {
			last = t
		}
	}
	if e.Series != nil && e.Series.LastObservedTime.After(last) {
		last = e.Series.LastObservedTime.Time
	}
	return last
}
