package writer

import (
	"fmt"
	"hash/fnv"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
)

// record notes an event. The same event about the same object is counted up instead of written again: its name is
// derived from what it says.
func (w *Writer) record(source string, ch controllers.Change, now metav1.Time) (fsm.Op, error) {
	k := w.kinds.ByStore("events")
	about := w.kinds.ByStore(ch.Resource)
	if k == nil || about == nil {
		return fsm.Op{}, fmt.Errorf("%w: %s", fsm.ErrUnknownResource, ch.Resource)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s", source, ch.Object.GetUID(), ch.Event.Reason, ch.Event.Message)
	namespace := ch.Object.GetNamespace()
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	name := fmt.Sprintf("%s.%016x", ch.Object.GetName(), h.Sum64())
	if stored, ok := w.view().Get(k.Key(namespace, name)); ok {
		e := stored.Value.DeepCopyObject().(*corev1.Event)
		e.Count++
		e.LastTimestamp = now
		return put(fsm.Update, k, e)
	}
	e := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, UID: types.UID(uuid.NewString()), CreationTimestamp: now},
		InvolvedObject: corev1.ObjectReference{APIVersion: about.GVK.GroupVersion().String(), Kind: about.GVK.Kind,
			Namespace: ch.Object.GetNamespace(), Name: ch.Object.GetName(), UID: ch.Object.GetUID(),
			ResourceVersion: ch.Object.GetResourceVersion()},
		Type: ch.Event.Type, Reason: ch.Event.Reason, Message: ch.Event.Message,
		Source: corev1.EventSource{Component: source}, ReportingController: source,
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	return put(fsm.Create, k, e)
}
