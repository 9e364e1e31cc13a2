package writer

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/kinds"
)

// Proposer puts ops into the Raft log and returns their results in order.
type Proposer interface {
	Propose(ctx context.Context, ops []fsm.Op) ([]fsm.Result, error)
}

// Writer implements controllers.Writer.
type Writer struct {
	kinds    *kinds.Registry
	view     func() fsm.View
	proposer Proposer
	admit    func(k *kinds.Kind, obj fsm.Value) error
}

// New makes a writer. admit changes or refuses a new object before it is validated, as admission does for clients.
func New(reg *kinds.Registry, view func() fsm.View, p Proposer, admit func(*kinds.Kind, fsm.Value) error) *Writer {
	return &Writer{kinds: reg, view: view, proposer: p, admit: admit}
}

// Write carries out the changes as one proposal.
func (w *Writer) Write(ctx context.Context, source string, changes []controllers.Change) []error {
	errs := make([]error, len(changes))
	var ops []fsm.Op
	var at []int // of ops, in changes
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	for i, ch := range changes {
		op, err := w.op(source, ch, now)
		if err != nil {
			errs[i] = err
			continue
		}
		ops, at = append(ops, op), append(at, i)
	}
	if len(ops) == 0 {
		return errs
	}
	results, err := w.proposer.Propose(ctx, ops)
	for j, i := range at {
		if err != nil {
			errs[i] = err
		} else {
			errs[i] = results[j].Err
		}
	}
	return errs
}

func (w *Writer) op(source string, ch controllers.Change, now metav1.Time) (fsm.Op, error) {
	if ch.Verb == controllers.Record {
		return w.record(source, ch, now)
	}
	k := w.kinds.ByStore(ch.Resource)
	if k == nil {
		return fsm.Op{}, fmt.Errorf("%w: %s", fsm.ErrUnknownResource, ch.Resource)
	}
	switch ch.Verb {
	case controllers.Create:
		return w.create(k, ch.Object, now)
	case controllers.Delete:
		return w.delete(k, ch, now)
	default:
		return w.change(k, ch, now)
	}
}

func (w *Writer) create(k *kinds.Kind, obj fsm.Value, now metav1.Time) (fsm.Op, error) {
	obj.SetUID(types.UID(uuid.NewString()))
	obj.SetCreationTimestamp(now)
	obj.SetResourceVersion("")
	if k.Default != nil {
		k.Default(obj)
	}
	if k.Prepare != nil {
		k.Prepare(obj, nil)
	}
	if err := w.admit(k, obj); err != nil {
		return fsm.Op{}, err
	}
	if k.Validate != nil {
		if errs := k.Validate(obj); len(errs) > 0 {
			return fsm.Op{}, errs.ToAggregate()
		}
	}
	return put(fsm.Create, k, obj)
}

// change is an update of a part of the stored object.
func (w *Writer) change(k *kinds.Kind, ch controllers.Change, now metav1.Time) (fsm.Op, error) {
	stored, ok := w.view().Get(k.Key(ch.Object.GetNamespace(), ch.Object.GetName()))
	if !ok {
		return fsm.Op{}, fsm.ErrNotFound
	}
	if ch.Object.GetResourceVersion() != stored.Value.GetResourceVersion() {
		return fsm.Op{}, fsm.ErrConflict
	}
	obj := ch.Object
	switch ch.Verb {
	case controllers.UpdateStatus:
		obj = stored.Value.DeepCopyObject().(fsm.Value)
		if errs := k.Subresources["status"].Update(obj, ch.Object); len(errs) > 0 {
			return fsm.Op{}, errs.ToAggregate()
		}
	case controllers.Bind:
		obj = stored.Value.DeepCopyObject().(fsm.Value)
		target := ch.Object.(*corev1.Pod).Spec.NodeName
		binding := &corev1.Binding{Target: corev1.ObjectReference{Name: target}}
		binding.CreationTimestamp = now
		if err := k.Subresources["binding"].Create(obj, binding); err != nil {
			return fsm.Op{}, err
		}
	default:
		if k.Prepare != nil {
			k.Prepare(obj, stored.Value)
		}
	}
	if gone(obj) {
		return remove(k, obj), nil
	}
	return put(fsm.Update, k, obj)
}

// gone reports whether nothing holds an object whose deletion was asked for.
func gone(obj fsm.Value) bool {
	grace := obj.GetDeletionGracePeriodSeconds()
	return obj.GetDeletionTimestamp() != nil && len(obj.GetFinalizers()) == 0 && (grace == nil || *grace == 0)
}

func (w *Writer) delete(k *kinds.Kind, ch controllers.Change, now metav1.Time) (fsm.Op, error) {
	obj := ch.Object
	var grace int64
	if k.GracePeriod != nil {
		grace = k.GracePeriod(obj)
	}
	if ch.Force || (grace == 0 && len(obj.GetFinalizers()) == 0 && !heldBySpec(obj)) {
		return remove(k, obj), nil
	}
	if obj.GetDeletionTimestamp() != nil {
		return fsm.Op{}, fsm.ErrConflict // somebody else began it; the view was old
	}
	obj = obj.DeepCopyObject().(fsm.Value)
	at := metav1.NewTime(now.Add(time.Duration(grace) * time.Second))
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
	return put(fsm.Update, k, obj)
}

// heldBySpec is true of a namespace whose content is not yet deleted.
func heldBySpec(obj fsm.Value) bool {
	ns, ok := obj.(*corev1.Namespace)
	return ok && len(ns.Spec.Finalizers) > 0
}

func put(verb fsm.Verb, k *kinds.Kind, obj fsm.Value) (fsm.Op, error) {
	raw, err := k.Encode(obj)
	if err != nil {
		return fsm.Op{}, err
	}
	key := k.Key(obj.GetNamespace(), obj.GetName())
	return fsm.Op{Verb: verb, Resource: key.Resource, Namespace: key.Namespace, Name: key.Name,
		IfRevision: revision(obj), Raw: raw}, nil
}

func remove(k *kinds.Kind, obj fsm.Value) fsm.Op {
	key := k.Key(obj.GetNamespace(), obj.GetName())
	return fsm.Op{Verb: fsm.Delete, Resource: key.Resource, Namespace: key.Namespace, Name: key.Name,
		IfRevision: revision(obj)}
}

// revision is the precondition that a resource version stands for; zero is none.
func revision(obj fsm.Value) uint64 {
	n, err := strconv.ParseUint(obj.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
