package api

import (
	"context"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/admission"
)

// createSub posts to a subresource ("binding"), which changes the stored object.
func (wr *writer) createSub(ctx context.Context, r *request) (response, error) {
	dry, err := dryRun(r.query["dryRun"])
	if err != nil {
		return response{}, err
	}
	body := r.sub.New()
	if err := r.decodeBody(body, r.sub.GVK); err != nil {
		return response{}, err
	}
	if m, ok := body.(metav1.Object); ok { // kinds read no clock: "binding" takes the time of its effect from here
		m.SetCreationTimestamp(metav1.NewTime(wr.now().Truncate(secondPrecision)))
	}
	_, err = wr.modify(ctx, r, r.key(), dry, func(old *fsm.Object) (change, error) {
		if m, ok := body.(metav1.Object); ok {
			if err := r.matches(m, old); err != nil {
				return change{}, err
			}
		}
		obj := old.Value.DeepCopyObject().(fsm.Value)
		if err := r.sub.Create(obj, body); err != nil {
			return change{}, postRefused(r, err)
		}
		return change{object: obj, operation: admission.Update, validate: r.validateMeta}, nil
	})
	if err != nil {
		return response{}, err
	}
	return response{code: http.StatusCreated, value: success(r, "")}, nil
}

// postRefused keeps an error that has a Status, and takes any other for a conflict with the object's state.
func postRefused(r *request, err error) error {
	if _, ok := err.(apierrors.APIStatus); ok {
		return err
	}
	return apierrors.NewConflict(r.resource(), r.info.Name+"/"+r.info.Subresource, err)
}

// success is the Status of a write that has no object to show.
func success(r *request, uid string) *metav1.Status {
	st := &metav1.Status{Status: metav1.StatusSuccess}
	st.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("Status"))
	st.APIVersion = "v1"
	if uid != "" {
		st.Details = &metav1.StatusDetails{
			Name: r.info.Name, Group: r.kind.GVK.Group, Kind: r.kind.Resource, UID: types.UID(uid),
		}
	}
	return st
}
