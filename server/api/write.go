package api

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
	"github.com/holt-project/holt/server/ownership"
	"github.com/holt-project/holt/server/storage"
)

// maxAttempts bounds how often one write is tried against concurrent ones before the client gets a conflict.
const maxAttempts = 16

// writer carries out writes on the server that leads.
type writer struct {
	store *storage.Store
	steps []admission.Step
	// authz is asked about what a request turns out to be on the way: an apply that creates.
	authz  Authorizer
	owners *ownership.Tracker
	now    func() time.Time
}

// carryOutVerb is one attempt at the write that r asks for.
func (wr *writer) carryOutVerb(ctx context.Context, r *request) (response, error) {
	switch {
	case r.sub != nil && r.info.Verb == "create":
		return wr.createSub(ctx, r)
	case r.info.Verb == "create":
		return wr.create(ctx, r)
	case r.info.Verb == "update":
		return wr.update(ctx, r)
	case r.info.Verb == "patch":
		return wr.patch(ctx, r)
	case r.info.Verb == "delete":
		return wr.delete(ctx, r)
	}
	return wr.deleteCollection(ctx, r)
}

// propose proposes one op of r's request. Its error is a leader's refusal, an unknown outcome, or the outcome of an
// earlier attempt; a failed precondition is in the result.
func (wr *writer) propose(ctx context.Context, r *request, op fsm.Op) (fsm.Result, error) {
	op.Request = r.attempt.request
	results, err := wr.store.Propose(ctx, []fsm.Op{op})
	switch {
	case err == nil && len(results) == 1:
		return r.attempt.result(results[0])
	case err == nil:
		return fsm.Result{}, unknownError{errors.New("the log returned no result")}
	case isNotLeader(err), isNoQuorum(err), isTooLarge(err), isOverloaded(err), isUnknown(err):
		return fsm.Result{}, err
	}
	return fsm.Result{}, unknownError{err}
}

// result takes note of what the log says about the attempt's request.
func (a *attempt) result(res fsm.Result) (fsm.Result, error) {
	switch {
	case res.Earlier != nil:
		return res, &decidedError{res}
	case errors.Is(res.Err, fsm.ErrForgotten), errors.Is(res.Err, fsm.ErrVoid):
		return res, res.Err
	case res.Err == nil && a.named():
		a.spent = true
	}
	return res, nil
}

func outcomeOf(res fsm.Result, err error) admission.Outcome {
	switch {
	case isUnknown(err):
		return admission.Unknown
	case err != nil || res.Err != nil:
		return admission.Abandoned
	}
	return admission.Committed
}

// change is one object's next state, computed from the stored one.
type change struct {
	// object is the next state, a copy of its own; nil leaves the stored object as it is.
	object fsm.Value
	// remove deletes the object; object, if set, is the last state that watchers see.
	remove bool
	// operation is what admission is told.
	operation admission.Operation
	// validate returns what is wrong with object after admission. May be nil.
	validate func(object, old fsm.Value) field.ErrorList
}

// outcome is what modify did.
type outcome struct {
	object  *fsm.Object
	removed bool
}

// modify reads the object, lets plan compute its next state and proposes that, under the precondition that nothing
// changed meanwhile; if something did, it starts over. A refusal by plan that a stale view may have caused is
// believed only after Linearize.
func (wr *writer) modify(ctx context.Context, r *request, key fsm.Key, dry bool, plan func(old *fsm.Object) (change, error)) (outcome, error) {
	fresh := false
	for range maxAttempts {
		view := wr.store.View()
		c, old, err := planned(view, r, key, plan)
		if stale(err) && !fresh {
			if err := wr.store.Linearize(ctx); err != nil {
				return outcome{}, err
			}
			fresh = true
			continue
		}
		if err != nil {
			return outcome{}, err
		}
		done, again, err := wr.carryOut(ctx, r, view, old, c, dry)
		if err != nil || !again {
			return done, err
		}
	}
	return outcome{}, errModified(r.resource(), key.Name)
}

func planned(v fsm.View, r *request, key fsm.Key, plan func(*fsm.Object) (change, error)) (change, *fsm.Object, error) {
	old, ok := v.Get(key)
	if !ok {
		return change{}, nil, apierrors.NewNotFound(r.resource(), key.Name)
	}
	c, err := plan(r.kind.Shown(old))
	return c, old, err
}

// stale reports whether a refusal may come from a view that lags behind.
func stale(err error) bool {
	return err != nil && (apierrors.IsNotFound(err) || apierrors.IsConflict(err))
}

// carryOut admits, validates and proposes one planned change. It reports again when the object has changed meanwhile.
func (wr *writer) carryOut(ctx context.Context, r *request, v fsm.View, old *fsm.Object, c change, dry bool) (done outcome, again bool, err error) {
	if c.object == nil && !c.remove {
		return outcome{object: old}, false, nil
	}
	a := r.attributes(c.operation, old.Key, v, dry)
	a.Object, a.Old = c.object, r.kind.ShownValue(old.Value)
	if c.operation == admission.Delete {
		a.Object = nil
	}
	result := admission.Abandoned
	defer func() { a.Decide(result) }()
	if err := wr.admit(ctx, a, c); err != nil {
		return outcome{}, false, err
	}
	if dry {
		return outcome{object: preview(old, c.object), removed: c.remove}, false, nil
	}
	op, err := operation(r, old, c)
	if err == nil {
		err = keepTimes(r.kind, &op, old, c.object)
	}
	if err != nil {
		return outcome{}, false, err
	}
	if op.Verb == fsm.Update && bytes.Equal(op.Raw, old.Raw) {
		return wr.unchanged(ctx, old)
	}
	res, err := wr.propose(ctx, r, op)
	result = outcomeOf(res, err)
	switch {
	case err != nil:
		return outcome{}, false, err
	case errors.Is(res.Err, fsm.ErrConflict), errors.Is(res.Err, fsm.ErrNotFound):
		return outcome{}, true, nil
	case res.Err != nil:
		return outcome{}, false, res.Err
	}
	return outcome{object: res.Object, removed: c.remove}, false, nil
}

// unchanged answers a write that changes nothing without writing to the log, if old is still the newest.
func (wr *writer) unchanged(ctx context.Context, old *fsm.Object) (done outcome, again bool, err error) {
	if err := wr.store.Linearize(ctx); err != nil {
		return outcome{}, false, err
	}
	now, ok := wr.store.View().Get(old.Key)
	if !ok || now.Revision != old.Revision {
		return outcome{}, true, nil
	}
	return outcome{object: now}, false, nil
}

func (wr *writer) admit(ctx context.Context, a *admission.Attributes, c change) error {
	if err := admission.Run(ctx, wr.steps, a); err != nil {
		return err
	}
	if c.validate == nil {
		return nil
	}
	if errs := c.validate(c.object, a.Old); len(errs) > 0 {
		return apierrors.NewInvalid(a.Kind.GVK.GroupKind(), a.Name, errs)
	}
	return nil
}

func (r *request) attributes(op admission.Operation, key fsm.Key, v fsm.View, dry bool) *admission.Attributes {
	return &admission.Attributes{
		User: r.user, Operation: op, Kind: r.kind, Namespace: key.Namespace, Name: key.Name,
		Subresource: r.info.Subresource, DryRun: dry, View: v,
	}
}

// operation is the log's form of a change.
func operation(r *request, old *fsm.Object, c change) (fsm.Op, error) {
	op := fsm.Op{
		Verb: fsm.Update, Resource: old.Resource, Namespace: old.Namespace, Name: old.Name,
		IfRevision: old.Revision, IfUID: string(old.Value.GetUID()),
	}
	if c.remove {
		op.Verb = fsm.Delete
	}
	if c.object == nil {
		return op, nil
	}
	raw, err := r.kind.Encode(c.object)
	if err != nil {
		return op, apierrors.NewInternalError(err)
	}
	op.Raw = raw
	return op, nil
}

// preview is what a dry run shows of a change to old, which may be nil.
func preview(old *fsm.Object, v fsm.Value) *fsm.Object {
	if v == nil {
		return old
	}
	o := &fsm.Object{Value: v}
	if old != nil {
		o.Key, o.Revision = old.Key, old.Revision
		v.SetResourceVersion(strconv.FormatUint(old.Revision, 10))
	}
	return o
}

// validateMeta checks the metadata of a new or changed object.
func (r *request) validateMeta(obj, old fsm.Value) field.ErrorList {
	name := r.kind.ValidateName
	if name == nil {
		name = validation.NameIsDNSSubdomain
	}
	at := field.NewPath("metadata")
	errs := validation.ValidateObjectMetaAccessor(obj, r.kind.Namespaced, name, at)
	if m := obj.GetManagedFields(); len(m) > 0 {
		errs = append(errs, metav1validation.ValidateManagedFields(m, at.Child("managedFields"))...)
	}
	if old != nil {
		errs = append(errs, validation.ValidateObjectMetaAccessorUpdate(obj, old, at)...)
	}
	return errs
}

// validateAll checks a whole object, and its change from old unless that is nil.
func (r *request) validateAll(obj, old fsm.Value) field.ErrorList {
	errs := r.validateMeta(obj, old)
	if r.kind.Validate != nil {
		errs = append(errs, r.kind.Validate(obj)...)
	}
	if old == nil && r.kind.ValidateCreate != nil {
		errs = append(errs, r.kind.ValidateCreate(obj)...)
	}
	if old != nil && r.kind.ValidateUpdate != nil {
		errs = append(errs, r.kind.ValidateUpdate(obj, old)...)
	}
	return errs
}
