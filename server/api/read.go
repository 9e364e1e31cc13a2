package api

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

// reader answers gets and lists from this server's store.
type reader struct{ store *storage.Store }

// get answers with one object or a part of it.
func (rd *reader) get(ctx context.Context, r *request) (response, error) {
	o, err := rd.store.Get(ctx, r.key(), r.query.Get("resourceVersion"))
	switch {
	case errors.Is(err, fsm.ErrNotFound):
		return response{}, apierrors.NewNotFound(r.resource(), r.info.Name)
	case err != nil:
		return response{}, err
	}
	return r.answer(http.StatusOK, o)
}

// answer is what the client sees of object o: itself, or the subresource that was asked for.
func (r *request) answer(code int, o *fsm.Object) (response, error) {
	if r.sub == nil || r.sub.GVK == r.kind.GVK { // "status" is the whole object
		return response{code: code, object: o}, nil
	}
	body, err := r.sub.Get(o.Value)
	if err != nil {
		return response{}, err
	}
	body.GetObjectKind().SetGroupVersionKind(r.sub.GVK)
	return response{code: code, value: body}, nil
}
