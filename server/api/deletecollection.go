package api

import (
	"context"
	"net/http"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

// collectionWorkers delete at once: proposals that meet travel in one log entry.
const collectionWorkers = 32

// deleteCollection deletes every object that the selectors match, and answers with them.
func (wr *writer) deleteCollection(ctx context.Context, r *request) (response, error) {
	opts, dry, err := r.deleteOptions()
	if err != nil {
		return response{}, err
	}
	o, err := listOptions(r.query)
	if err != nil {
		return response{}, err
	}
	page, err := wr.store.List(ctx, r.scope(), o)
	if err != nil {
		return response{}, err
	}
	l := &listing{meta: listMeta(page)}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(collectionWorkers)
	var mu sync.Mutex // guards the list of items
	for _, o := range page.Objects {
		g.Go(func() error {
			done, err := wr.deleteOne(gctx, r, o.Key, forOne(opts, o), dry)
			if err != nil {
				return gone(err)
			}
			mu.Lock()
			defer mu.Unlock()
			l.items = append(l.items, done.object)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return response{}, err
	}
	slices.SortFunc(l.items, inOrder)
	return response{code: http.StatusOK, list: l}, nil
}

// forOne adds the UID, so that an object which has taken the place of the selected one is spared.
func forOne(opts *metav1.DeleteOptions, o *fsm.Object) *metav1.DeleteOptions {
	own := opts.DeepCopy()
	if own.Preconditions == nil {
		own.Preconditions = &metav1.Preconditions{}
	}
	if own.Preconditions.UID == nil {
		uid := o.Value.GetUID()
		own.Preconditions.UID = &uid
	}
	return own
}

// gone forgives that somebody else was quicker.
func gone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}
