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

// linearize makes the store's view as new as any write that was answered before. It waits out an election, until
// ctx ends.
func (s *Server) linearize(ctx context.Context) error {
	for b := newBackoff(); ; {
		err := s.cfg.Consensus.Linearize(ctx)
		if err == nil || !isNotLeader(err) {
			return err
		}
		if !b.wait(ctx) {
			return err
		}
	}
}

// view returns a state that satisfies the resource version of a read: empty is the newest, "0" any, N not older than N.
func (s *Server) view(ctx context.Context, resourceVersion string) (fsm.View, error) {
	rev, set, err := parseRevision(resourceVersion)
	switch {
	case err != nil:
		return fsm.View{}, err
	case !set:
		if err := s.linearize(ctx); err != nil {
			return fsm.View{}, err
		}
	case rev > 0:
		bounded, cancel := context.WithTimeout(ctx, revisionWait)
		defer cancel()
		if err := s.cfg.Store.WaitRevision(bounded, rev); err != nil {
			return fsm.View{}, errTooLarge(rev, s.cfg.Store.View().Revision())
		}
	}
	return s.cfg.Store.View(), nil
}

// get answers with one object or a part of it.
func (s *Server) get(ctx context.Context, r *request) (response, error) {
	v, err := s.view(ctx, r.query.Get("resourceVersion"))
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
