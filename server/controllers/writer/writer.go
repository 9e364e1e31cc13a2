package writer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/controllers"
	"github.com/holt-project/holt/server/kinds"
	"github.com/holt-project/holt/server/ownership"
)

// manager owns the fields that control loops set. It is the name that other tools know to leave alone.
const manager = "kube-controller-manager"

// Bounds of one proposal: what consensus takes without slowing its followers down.
const (
	maxProposal = 1 << 20 // bytes
	maxOps      = 1000
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
	owners   *ownership.Tracker
}

// New makes a writer. admit changes or refuses a new object before it is validated, as admission does for clients.
func New(reg *kinds.Registry, view func() fsm.View, p Proposer, owners *ownership.Tracker, admit func(*kinds.Kind, fsm.Value) error) *Writer {
	return &Writer{kinds: reg, view: view, proposer: p, admit: admit, owners: owners}
}

// Write carries out the changes, then notes the events: those that say what a change did only if it did. The changes
// share proposals as far as these may grow.
func (w *Writer) Write(ctx context.Context, source string, changes []controllers.Change) []error {
	errs := make([]error, len(changes))
	var ops []fsm.Op
	var at []int // of ops, in changes
	now := metav1.NewTime(time.Now().Truncate(time.Second))
	for i, ch := range changes {
		if ch.Verb == controllers.Record {
			continue
		}
		op, err := w.op(ch, now)
		if err != nil {
			errs[i] = err
			continue
		}
		ops, at = append(ops, op), append(at, i)
	}
	for j, err := range w.propose(ctx, ops) {
		errs[at[j]] = err
	}
	w.record(ctx, source, changes, errs, now)
	return errs
}

// propose sends the ops in proposals of bounded size, and returns one error for each. After a proposal that failed as
// a whole the rest is not tried: this server leads no more, or cannot be heard.
func (w *Writer) propose(ctx context.Context, ops []fsm.Op) []error {
	errs := make([]error, 0, len(ops))
	for len(ops) > 0 {
		n := fitting(ops)
		results, err := w.proposer.Propose(ctx, ops[:n])
		if err != nil {
			return append(errs, slices.Repeat([]error{err}, len(ops))...)
		}
		for _, r := range results {
			errs = append(errs, r.Err)
		}
		ops = ops[n:]
	}
	return errs
}

// fitting is how many of the ops, at least one, go into the next proposal.
func fitting(ops []fsm.Op) int {
	size := 0
	for n, op := range ops {
		if size += len(op.Raw); n > 0 && (size > maxProposal || n == maxOps) {
			return n
		}
	}
	return len(ops)
}

func (w *Writer) op(ch controllers.Change, now metav1.Time) (fsm.Op, error) {
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
	for _, validate := range []func(fsm.Value) field.ErrorList{k.Validate, k.ValidateCreate} {
		if validate == nil {
			continue
		}
		if errs := validate(obj); len(errs) > 0 {
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
	obj := stored.Value.DeepCopyObject().(fsm.Value)
	switch ch.Verb {
	case controllers.UpdateStatus:
		if errs := k.Subresources["status"].Update(obj, ch.Object); len(errs) > 0 {
			return fsm.Op{}, errs.ToAggregate()
		}
		w.own(k, "status", stored.Value, obj)
	case controllers.Finalize:
		if errs := k.Subresources["finalize"].Update(obj, ch.Object); len(errs) > 0 {
			return fsm.Op{}, errs.ToAggregate()
		}
		w.own(k, "finalize", stored.Value, obj)
	case controllers.Bind:
		if err := k.Subresources["binding"].Create(obj, bindingTo(ch.Object, now)); err != nil {
			return fsm.Op{}, err
		}
	default:
		obj = ch.Object
		w.own(k, "", stored.Value, obj)
		if k.Prepare != nil {
			k.Prepare(obj, stored.Value)
		}
	}
	if gone(obj) {
		return remove(k, obj), nil
	}
	return put(fsm.Update, k, obj)
}

// own makes the control loops own what they change of an object whose owners are known: a user's, as a rule. What control
// loops themselves create has none, which the rules of managedFields allow, and which keeps the many pods cheap.
func (w *Writer) own(k *kinds.Kind, subresource string, old, obj fsm.Value) {
	if len(old.GetManagedFields()) > 0 {
		w.owners.Update(k, subresource, old, obj, manager)
	}
}

// bindingTo is what a scheduler outside would post; its time becomes that of the pod's condition.
func bindingTo(pod fsm.Value, now metav1.Time) *corev1.Binding {
	return &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.GetName(), Namespace: pod.GetNamespace(), CreationTimestamp: now},
		Target:     corev1.ObjectReference{Kind: "Node", Name: pod.(*corev1.Pod).Spec.NodeName},
	}
}

// gone reports whether nothing holds an object whose deletion was asked for.
func gone(obj fsm.Value) bool {
	return obj.GetDeletionTimestamp() != nil && free(obj) && graceOf(obj) == 0
}

// free reports whether no finalizer holds the object. A namespace also has some in its specification: they stand for
// its content.
func free(obj fsm.Value) bool {
	ns, ok := obj.(*corev1.Namespace)
	return len(obj.GetFinalizers()) == 0 && (!ok || len(ns.Spec.Finalizers) == 0)
}

func graceOf(obj fsm.Value) int64 {
	if grace := obj.GetDeletionGracePeriodSeconds(); grace != nil {
		return *grace
	}
	return 0
}

// delete removes the object or marks it for those who hold it. One that is marked already stays as it is, unless its
// grace is taken away.
func (w *Writer) delete(k *kinds.Kind, ch controllers.Change, now metav1.Time) (fsm.Op, error) {
	var grace int64
	if k.GracePeriod != nil && !ch.Force {
		grace = k.GracePeriod(ch.Object)
	}
	if grace == 0 && free(ch.Object) {
		return remove(k, ch.Object), nil
	}
	obj := ch.Object.DeepCopyObject().(fsm.Value)
	if begun := obj.GetDeletionTimestamp() != nil; !begun || (grace == 0 && graceOf(obj) > 0) {
		if !begun && obj.GetGeneration() > 0 {
			obj.SetGeneration(obj.GetGeneration() + 1)
		}
		at := metav1.NewTime(now.Add(time.Duration(grace) * time.Second))
		obj.SetDeletionTimestamp(&at)
		obj.SetDeletionGracePeriodSeconds(&grace)
	}
	if ns, ok := obj.(*corev1.Namespace); ok {
		ns.Status.Phase = corev1.NamespaceTerminating
	}
	return put(fsm.Update, k, obj)
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
