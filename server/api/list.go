package api

import (
	"context"
	"net/http"
	"strconv"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
)

// list answers with the objects that match, all of one revision.
func (rd *reader) list(ctx context.Context, r *request) (response, error) {
	sel, err := r.selection(r.query.Get("labelSelector"), r.query.Get("fieldSelector"))
	if err != nil {
		return response{}, err
	}
	limit, err := parseLimit(r.query.Get("limit"))
	if err != nil {
		return response{}, err
	}
	v, from, err := rd.listView(ctx, r)
	if err != nil {
		return response{}, err
	}
	page, err := rd.page(sel, v, from, limit)
	if err != nil {
		return response{}, err
	}
	return response{code: http.StatusOK, list: page}, nil
}

func parseLimit(v string) (int, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return 0, badRequest("limit %q must be a non-negative number", v)
	}
	return n, nil
}

// listView picks the state to list, and where to begin.
func (rd *reader) listView(ctx context.Context, r *request) (fsm.View, *fsm.Key, error) {
	rv, match, token := r.query.Get("resourceVersion"), r.query.Get("resourceVersionMatch"), r.query.Get("continue")
	if token != "" {
		if rv != "" && rv != "0" {
			return fsm.View{}, nil, badRequest("specifying resource version is not allowed when using continue")
		}
		return rd.continued(r, token)
	}
	switch metav1.ResourceVersionMatch(match) {
	case "":
		// Kubernetes takes a resource version together with a limit as an exact one.
		if rev, _, err := parseRevision(rv); err == nil && rev > 0 && r.query.Get("limit") != "" && r.query.Get("limit") != "0" {
			return rd.exactly(ctx, rev)
		}
	case metav1.ResourceVersionMatchNotOlderThan:
		if rv == "" {
			return fsm.View{}, nil, badRequest("resourceVersionMatch is forbidden unless resourceVersion is provided")
		}
	case metav1.ResourceVersionMatchExact:
		rev, _, err := parseRevision(rv)
		if err != nil || rev == 0 {
			return fsm.View{}, nil, badRequest("resourceVersionMatch Exact needs a resourceVersion other than 0")
		}
		return rd.exactly(ctx, rev)
	default:
		return fsm.View{}, nil, badRequest("resourceVersionMatch %q is neither Exact nor NotOlderThan", match)
	}
	v, err := rd.view(ctx, rv)
	return v, nil, err
}

// exactly returns the state at revision rev, if it is still there.
func (rd *reader) exactly(ctx context.Context, rev uint64) (fsm.View, *fsm.Key, error) {
	v, err := rd.view(ctx, strconv.FormatUint(rev, 10))
	if err != nil {
		return v, nil, err
	}
	if v.Revision() == rev {
		return v, nil, nil
	}
	if kept, ok := rd.pages.get(rev); ok {
		return kept, nil, nil
	}
	return v, nil, errExpired("The resourceVersion for the provided list is too old.")
}

func (rd *reader) continued(r *request, token string) (fsm.View, *fsm.Key, error) {
	t, err := parseContinue(token)
	if err != nil {
		return fsm.View{}, nil, err
	}
	from := r.kind.Key(t.Namespace, t.Name+"\x00") // the first key behind the last one that was sent
	if v := rd.store.View(); v.Revision() == t.Revision {
		return v, &from, nil
	}
	if v, ok := rd.pages.get(t.Revision); ok {
		return v, &from, nil
	}
	return fsm.View{}, nil, errExpired("The provided continue parameter is too old to display a consistent list result. " +
		"You must start a new list without the continue parameter.")
}

// page collects up to limit objects, and makes the token for the next page.
func (rd *reader) page(sel selection, v fsm.View, from *fsm.Key, limit int) (*listing, error) {
	l := &listing{meta: metav1.ListMeta{ResourceVersion: strconv.FormatUint(v.Revision(), 10)}}
	var rest int64
	for o := range sel.in(v, from) {
		if limit > 0 && len(l.items) == limit {
			if rest++; !sel.all() {
				break // Kubernetes tells the remaining count only of unfiltered lists
			}
			continue
		}
		l.items = append(l.items, o)
	}
	if rest == 0 {
		return l, nil
	}
	var err error
	if l.meta.Continue, err = continueAfter(v.Revision(), l.items[len(l.items)-1].Key); err != nil {
		return nil, err
	}
	if sel.all() {
		l.meta.RemainingItemCount = &rest
	}
	rd.pages.keep(v)
	return l, nil
}
