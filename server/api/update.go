package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
)

// secondPrecision is how exact times are on the wire.
const secondPrecision = time.Second

// update replaces an object, or the part of it that a subresource stands for.
func (wr *writer) update(ctx context.Context, r *request) (response, error) {
	dry, err := dryRun(r.query["dryRun"])
	if err != nil {
		return response{}, err
	}
	body := r.newBody()
	if err := r.decodeBody(body, r.bodyGVK()); err != nil {
		return response{}, err
	}
	owner, err := manager(r, "UpdateOptions")
	if err != nil {
		return response{}, err
	}
	done, err := wr.modify(ctx, r, r.key(), dry, func(old *fsm.Object) (change, error) {
		return replaced(r, old, body.DeepCopyObject(), wr.updates(r, owner))
	})
	if err != nil {
		return response{}, err
	}
	return r.answer(http.StatusOK, done.object)
}

// newBody is an empty object of the type that the body has.
func (r *request) newBody() runtime.Object {
	if r.sub != nil {
		return r.sub.New()
	}
	return r.kind.New()
}

// replaced plans the change from old to what body says. body may be changed.
func replaced(r *request, old *fsm.Object, body runtime.Object, own owning) (change, error) {
	m, ok := body.(metav1.Object)
	if !ok {
		return change{}, badRequest("a body of type %T cannot be put", body)
	}
	if err := r.matches(m, old); err != nil {
		return change{}, err
	}
	if r.sub != nil {
		return replacedSub(r, old, body, own)
	}
	obj := body.(fsm.Value)
	if err := r.matchNamespace(obj); err != nil {
		return change{}, err
	}
	keepMeta(obj, old.Value)
	if r.kind.Default != nil {
		r.kind.Default(obj)
	}
	if err := own(old.Value, obj, body); err != nil {
		return change{}, err
	}
	if r.kind.Prepare != nil {
		r.kind.Prepare(obj, old.Value)
	}
	return change{object: obj, remove: finished(obj), operation: admission.Update, validate: r.validateAll}, nil
}

// replacedSub lets the subresource change a copy of the stored object; it validates what it changes.
func replacedSub(r *request, old *fsm.Object, body runtime.Object, own owning) (change, error) {
	obj := old.Value.DeepCopyObject().(fsm.Value)
	if errs := r.sub.Update(obj, body); len(errs) > 0 {
		return change{}, apierrors.NewInvalid(r.sub.GVK.GroupKind(), old.Name, errs)
	}
	if err := own(old.Value, obj, body); err != nil {
		return change{}, err
	}
	return change{object: obj, remove: finished(obj), operation: admission.Update, validate: r.validateMeta}, nil
}

// matches checks name, UID and resource version of a body against the stored object.
func (r *request) matches(m metav1.Object, old *fsm.Object) error {
	switch name := m.GetName(); {
	case name == "":
		m.SetName(old.Name)
	case name != old.Name:
		return badRequest("the name of the object (%s) does not match the name on the URL (%s)", name, old.Name)
	}
	return preconditions(r, m.GetUID(), m.GetResourceVersion(), old)
}

// preconditions compares the UID and resource version that a client names, if any, with the stored object's.
func preconditions(r *request, uid types.UID, resourceVersion string, old *fsm.Object) error {
	if have := old.Value.GetUID(); uid != "" && uid != have {
		return apierrors.NewConflict(r.resource(), old.Name,
			//lint:ignore ST1005 Kubernetes' words
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", uid, have))
	}
	if resourceVersion != "" && resourceVersion != strconv.FormatUint(old.Revision, 10) {
		if _, _, err := parseRevision(resourceVersion); err != nil {
			return err
		}
		return errModified(r.resource(), old.Name)
	}
	return nil
}

// keepMeta keeps the metadata that no client changes.
func keepMeta(obj, old fsm.Value) {
	obj.SetName(old.GetName())
	obj.SetUID(old.GetUID())
	obj.SetCreationTimestamp(old.GetCreationTimestamp())
	obj.SetDeletionTimestamp(old.GetDeletionTimestamp())
	obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	obj.SetGenerateName(old.GetGenerateName())
	obj.SetGeneration(old.GetGeneration())
	obj.SetSelfLink("")
	obj.SetResourceVersion(old.GetResourceVersion())
}
