package storage

import (
	"cmp"
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

// ListOptions are Kubernetes' options of a list or watch.
type ListOptions = internalversion.ListOptions

// Page is a list, or a part of one.
type Page struct {
	// Objects are ordered by namespace and name. They are shared and must not be changed.
	Objects []*fsm.Object
	// Revision is that of the state which the whole list shows.
	Revision uint64
	// Continue asks for the next page; empty on the last one.
	Continue string
	// Remaining counts the objects behind this page. nil on the last page, and if selectors were given, as in Kubernetes.
	Remaining *int64
}

// List returns the objects of the scope that the options select, at most o.Limit of them if that is positive.
func (s *Store) List(ctx context.Context, scope Scope, o ListOptions) (Page, error) {
	o.Watch = false
	if errs := validation.ValidateListOptions(&o, true); len(errs) > 0 {
		return Page{}, &InvalidError{errs}
	}
	sel, err := scope.selector(o)
	if err != nil {
		return Page{}, err
	}
	at, from, err := s.listed(ctx, sel.resource, o)
	if err != nil {
		return Page{}, err
	}
	return sel.page(at, from, int(max(o.Limit, 0))), nil
}

// listed returns the state that a list shows, and the lowest key that can be on the page.
func (s *Store) listed(ctx context.Context, resource string, o ListOptions) (snapshot, fsm.Key, error) {
	if o.Continue != "" {
		return s.continued(ctx, resource, o)
	}
	revision, err := parseRevision(o.ResourceVersion)
	if err != nil {
		return nil, fsm.Key{}, err
	}
	// Without a match, Kubernetes takes a revision as the exact one if there is a limit, and as the least if not.
	legacy := o.ResourceVersionMatch == "" && o.Limit > 0 && revision > 0
	if legacy || o.ResourceVersionMatch == metav1.ResourceVersionMatchExact {
		at, err := s.past(ctx, resource, revision)
		return at, fsm.Key{}, err
	}
	v, err := s.present(ctx, o.ResourceVersion)
	return v, fsm.Key{}, err
}

// past returns the resource as it was at revision. It waits until this server has reached that.
func (s *Store) past(ctx context.Context, resource string, revision uint64) (snapshot, error) {
	if err := s.reach(ctx, revision); err != nil {
		return nil, err
	}
	if v := s.state.View(); v.Revision() == revision {
		return v, nil // with its indexes
	}
	past, err := s.state.At(resource, revision)
	switch {
	case errors.Is(err, fsm.ErrCompacted):
		return nil, &ExpiredError{message: "The resourceVersion for the provided list is too old."}
	case errors.Is(err, fsm.ErrFuture): // a snapshot has taken the state back
		return nil, &TooLargeError{Want: revision, Have: s.state.View().Revision()}
	}
	return past, err
}

// continued returns the state that the list's earlier pages show. When that is gone, the error offers to go on at the
// newest one.
func (s *Store) continued(ctx context.Context, resource string, o ListOptions) (snapshot, fsm.Key, error) {
	revision, from, err := decodeToken(o.Continue)
	switch {
	case err != nil:
		return nil, from, err
	case o.ResourceVersion != "" && o.ResourceVersion != "0":
		return nil, from, errBadOptions("specifying resource version is not allowed when using continue")
	case revision == newest:
		v, err := s.present(ctx, "")
		return v, from, err
	}
	at, err := s.past(ctx, resource, uint64(revision))
	var expired *ExpiredError
	if errors.As(err, &expired) {
		expired.Continue = encodeToken(newest, from)
		expired.message = "The provided continue parameter is too old to display a consistent list result. " +
			"Start a new list without it, or go on with the one in this answer: the rest of the list is then newer than " +
			"what came before, and what was created, modified or deleted meanwhile may show up in it."
	}
	return at, from, err
}

// page takes up to limit objects, all if limit is zero.
func (s *selector) page(at snapshot, from fsm.Key, limit int) Page {
	p := Page{Revision: at.Revision()}
	more := false
	for o := range s.in(at, from) {
		if more = limit > 0 && len(p.Objects) == limit; more {
			break
		}
		p.Objects = append(p.Objects, o)
	}
	if !more {
		return p
	}
	next := behind(p.Objects[len(p.Objects)-1].Key)
	p.Continue = encodeToken(int64(p.Revision), next)
	if s.all() {
		rest := int64(0)
		for range at.ListFrom(s.resource, s.Namespace, next) {
			rest++
		}
		p.Remaining = &rest
	}
	return p
}

// compare orders keys of one resource as lists do.
func compare(a, b fsm.Key) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
