package writer

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/kinds"
)

// record notes the events among the changes, errs being what became of the other changes. Whatever fails here is
// given up: an event is a hint for people, and its namespace may be going.
func (w *Writer) record(ctx context.Context, source string, changes []controllers.Change, errs []error, now metav1.Time) {
	k := w.kinds.ByStore("events")
	if k == nil {
		return
	}
	v := w.view()
	noted := map[fsm.Key]*corev1.Event{}
	var order []fsm.Key
	for i, ch := range changes {
		about := w.kinds.ByStore(ch.Resource)
		if ch.Verb != controllers.Record || about == nil || (ch.IfDone && i > 0 && errs[i-1] != nil) {
			continue
		}
		key := eventKey(k, source, ch)
		if noted[key] == nil {
			if noted[key] = w.event(v, k, key, about, source, ch, now); noted[key] == nil {
				continue
			}
			order = append(order, key)
		}
		noted[key].Count++
		noted[key].LastTimestamp = now
	}
	var ops []fsm.Op
	for _, key := range order {
		verb := fsm.Create
		if noted[key].ResourceVersion != "" {
			verb = fsm.Update
		}
		if op, err := put(verb, k, noted[key]); err == nil {
			ops = append(ops, op)
		}
	}
	w.propose(ctx, ops)
}

// eventKey is derived from what an event says, so that the same event about the same object is counted up instead of
// written again.
func eventKey(k *kinds.Kind, source string, ch controllers.Change) fsm.Key {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00%s", source, ch.Object.GetUID(), ch.Event.Type, ch.Event.Reason, ch.Event.Message)
	namespace := ch.Object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return k.Key(namespace, fmt.Sprintf("%s.%016x", ch.Object.GetName(), h.Sum64()))
}

// event returns the stored event or a new one that does not count yet; nil if its namespace takes none.
func (w *Writer) event(v fsm.View, k *kinds.Kind, key fsm.Key, about *kinds.Kind, source string, ch controllers.Change,
	now metav1.Time) *corev1.Event {
	if stored, ok := v.Get(key); ok {
		return stored.Value.DeepCopyObject().(*corev1.Event)
	}
	e := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: key.Name, Namespace: key.Namespace, UID: types.UID(uuid.NewString()),
			CreationTimestamp: now},
		InvolvedObject: corev1.ObjectReference{APIVersion: about.GVK.GroupVersion().String(), Kind: about.GVK.Kind,
			Namespace: ch.Object.GetNamespace(), Name: ch.Object.GetName(), UID: ch.Object.GetUID(),
			ResourceVersion: ch.Object.GetResourceVersion()},
		Type: ch.Event.Type, Reason: ch.Event.Reason, Message: ch.Event.Message,
		Source: corev1.EventSource{Component: source}, ReportingController: source, FirstTimestamp: now,
	}
	if w.admit(k, e) != nil {
		return nil
	}
	return e
}
