package api

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/holt-project/holt/fsm"
)

// revisionWait bounds how long a read waits for a revision that this server has not reached.
const revisionWait = 3 * time.Second

// reader answers gets and lists from this server's store.
type reader struct {
	store     Store
	consensus Consensus
	pages     *pageViews
}

// linearize makes the store's view as new as any write that was answered before. It waits out an election, until
// ctx ends.
func (rd *reader) linearize(ctx context.Context) error {
	for b := newBackoff(); ; {
		err := rd.consensus.Linearize(ctx)
		if err == nil || !isNotLeader(err) {
			return err
		}
		if !b.wait(ctx) {
			return err
		}
	}
}

// view returns a state that satisfies the resource version of a read: empty is the newest, "0" any, N not older than N.
func (rd *reader) view(ctx context.Context, resourceVersion string) (fsm.View, error) {
	rev, set, err := parseRevision(resourceVersion)
	switch {
	case err != nil:
		return fsm.View{}, err
	case !set:
		if err := rd.linearize(ctx); err != nil {
			return fsm.View{}, err
		}
	case rev > 0:
		bounded, cancel := context.WithTimeout(ctx, revisionWait)
		defer cancel()
		if err := rd.store.WaitRevision(bounded, rev); err != nil {
			return fsm.View{}, errTooLarge(rev, rd.store.View().Revision())
		}
	}
	return rd.store.View(), nil
}

// get answers with one object or a part of it.
func (rd *reader) get(ctx context.Context, r *request) (response, error) {
	v, err := rd.view(ctx, r.query.Get("resourceVersion"))
	if err != nil {
		return response{}, err
	}
	o, ok := v.Get(r.key())
	if !ok {
		return response{}, apierrors.NewNotFound(r.resource(), r.info.Name)
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
