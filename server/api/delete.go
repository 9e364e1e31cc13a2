package api

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
)

// delete removes an object, or marks it for removal by those who must clean up first.
func (wr *writer) delete(ctx context.Context, r *request) (response, error) {
	opts, dry, err := r.deleteOptions()
	if err != nil {
		return response{}, err
	}
	done, err := wr.deleteOne(ctx, r, r.key(), opts, dry)
	if err != nil {
		return response{}, err
	}
	return r.deleted(done), nil
}

// deleted answers a delete: with the object, unless it is of a kind that always goes at once.
func (r *request) deleted(done outcome) response {
	if done.removed && r.kind.GracePeriod == nil {
		return response{code: http.StatusOK, value: success(r, string(done.object.Value.GetUID()))}
	}
	return response{code: http.StatusOK, object: done.object}
}

func (wr *writer) deleteOne(ctx context.Context, r *request, key fsm.Key, opts *metav1.DeleteOptions, dry bool) (outcome, error) {
	return wr.modify(ctx, r, key, dry, func(old *fsm.Object) (change, error) {
		if p := opts.Preconditions; p != nil {
			if err := preconditions(r, ptr.Deref(p.UID, ""), ptr.Deref(p.ResourceVersion, ""), old); err != nil {
				return change{}, err
			}
		}
		c := deletion{r, opts, wr.now().Truncate(secondPrecision)}.of(old.Value)
		c.operation = admission.Delete
		return c, nil
	})
}

// deleteOptions reads the options from the body, or else from the query.
func (r *request) deleteOptions() (*metav1.DeleteOptions, bool, error) {
	opts := &metav1.DeleteOptions{}
	if len(r.body) > 0 {
		if err := r.decodeDeleteOptions(opts); err != nil {
			return nil, false, err
		}
	} else if err := queryDeleteOptions(r, opts); err != nil {
		return nil, false, err
	}
	if errs := metav1validation.ValidateDeleteOptions(opts); len(errs) > 0 {
		return nil, false, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "DeleteOptions"}, "", errs)
	}
	modernise(opts)
	dry, err := dryRun(append(slices.Clone(opts.DryRun), r.query["dryRun"]...))
	return opts, dry, err
}

// decodeDeleteOptions reads the body. Clients name the group of meta, of the kind, or v1: all mean the same.
func (r *request) decodeDeleteOptions(opts *metav1.DeleteOptions) error {
	var err error
	for _, gv := range []schema.GroupVersion{{Version: "v1"}, {Group: metav1.GroupName, Version: "v1"}, r.kind.GVK.GroupVersion()} {
		*opts = metav1.DeleteOptions{}
		if err = r.decodeBody(opts, gv.WithKind("DeleteOptions")); err == nil {
			return nil
		}
	}
	return err
}

func queryDeleteOptions(r *request, opts *metav1.DeleteOptions) error {
	if v := r.query.Get("gracePeriodSeconds"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return badRequest("gracePeriodSeconds %q must be a number", v)
		}
		opts.GracePeriodSeconds = &n
	}
	if v := r.query.Get("propagationPolicy"); v != "" {
		p := metav1.DeletionPropagation(v)
		opts.PropagationPolicy = &p
	}
	if v := r.query.Get("orphanDependents"); v != "" && opts.PropagationPolicy == nil {
		opts.PropagationPolicy = ptr.To(policyOf(isTrue(v)))
	}
	return nil
}

// modernise says by a policy what old clients say by orphanDependents.
func modernise(opts *metav1.DeleteOptions) {
	//lint:ignore SA1019 the field is deprecated, and on the wire
	if orphan := opts.OrphanDependents; orphan != nil {
		opts.PropagationPolicy = ptr.To(policyOf(*orphan))
	}
}

func policyOf(orphan bool) metav1.DeletionPropagation {
	if orphan {
		return metav1.DeletePropagationOrphan
	}
	return metav1.DeletePropagationBackground
}

// deletion plans what a delete request does to one object (Kubernetes' BeforeDelete and its finalizers).
type deletion struct {
	r    *request
	opts *metav1.DeleteOptions
	now  time.Time
}

func (d deletion) of(old fsm.Value) change {
	obj := old.DeepCopyObject().(fsm.Value)
	obj.SetFinalizers(d.finalizers(obj.GetFinalizers()))
	grace := d.grace(old)
	if at := old.GetDeletionTimestamp(); at == nil {
		d.mark(obj, d.now, grace)
	} else if current := gracePeriod(old); grace < current && d.hurries(old) {
		begun := at.Time.Add(-time.Duration(current) * time.Second)
		d.mark(obj, begun, grace)
	}
	switch {
	case finished(obj) && old.GetDeletionTimestamp() == nil:
		return change{remove: true} // at once: its last state is what is stored
	case finished(obj):
		return change{object: obj, remove: true}
	}
	if ns, ok := obj.(*corev1.Namespace); ok {
		ns.Status.Phase = corev1.NamespaceTerminating
	}
	return change{object: obj}
}

// hurries reports whether a request on an object that is being deleted already may shorten its grace period.
func (d deletion) hurries(old fsm.Value) bool {
	return d.opts.GracePeriodSeconds != nil || d.r.kind.GracePeriod(old) == 0
}

func (d deletion) mark(obj fsm.Value, from time.Time, grace int64) {
	at := metav1.NewTime(from.Add(time.Duration(grace) * time.Second))
	if obj.GetDeletionTimestamp() == nil && obj.GetGeneration() > 0 {
		obj.SetGeneration(obj.GetGeneration() + 1)
	}
	obj.SetDeletionTimestamp(&at)
	obj.SetDeletionGracePeriodSeconds(&grace)
}

// grace is how many seconds the object gets. One that has nothing to end gets none, whatever was asked for.
func (d deletion) grace(old fsm.Value) int64 {
	if d.r.kind.GracePeriod == nil {
		return 0
	}
	g := d.r.kind.GracePeriod(old)
	if d.opts.GracePeriodSeconds != nil && g != 0 {
		g = *d.opts.GracePeriodSeconds
	}
	if g < 0 {
		return 1 // as Kubernetes reads a negative one
	}
	return g
}

// finalizers adds or removes those by which the garbage collector handles the dependents.
func (d deletion) finalizers(have []string) []string {
	want := ""
	switch ptr.Deref(d.opts.PropagationPolicy, "") {
	case metav1.DeletePropagationForeground:
		want = metav1.FinalizerDeleteDependents
	case metav1.DeletePropagationOrphan:
		want = metav1.FinalizerOrphanDependents
	case "":
		return have
	}
	var out []string
	for _, f := range have {
		if f != metav1.FinalizerDeleteDependents && f != metav1.FinalizerOrphanDependents {
			out = append(out, f)
		}
	}
	if want != "" {
		out = append(out, want)
	}
	return out
}

func gracePeriod(v fsm.Value) int64 {
	if g := v.GetDeletionGracePeriodSeconds(); g != nil {
		return *g
	}
	return 0
}

// finished reports whether an object that was asked to go has nothing left to wait for. A Namespace also waits for
// the finalizers in its specification.
func finished(v fsm.Value) bool {
	if v.GetDeletionTimestamp() == nil || len(v.GetFinalizers()) > 0 || gracePeriod(v) > 0 {
		return false
	}
	ns, ok := v.(*corev1.Namespace)
	return !ok || len(ns.Spec.Finalizers) == 0
}
