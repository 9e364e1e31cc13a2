package api

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/storage"
)

// scope is what a request for a collection is about.
func (r *request) scope() storage.Scope {
	return storage.Scope{Kind: r.kind, Namespace: r.info.Namespace}
}

// listOptions reads the parameters of a list, watch or deletecollection as Kubernetes does.
func listOptions(q url.Values) (storage.ListOptions, error) {
	var o storage.ListOptions
	if err := scheme.ParameterCodec.DecodeParameters(q, metav1.SchemeGroupVersion, &o); err != nil {
		return o, apierrors.NewBadRequest(err.Error())
	}
	return o, nil
}

// list answers with the objects that match, all of one revision.
func (rd *reader) list(ctx context.Context, r *request) (response, error) {
	o, err := listOptions(r.query)
	if err != nil {
		return response{}, err
	}
	page, err := rd.store.List(ctx, r.scope(), o)
	if err != nil {
		return response{}, err
	}
	return response{code: http.StatusOK, list: &listing{meta: listMeta(page), items: page.Objects}}, nil
}

func listMeta(p storage.Page) metav1.ListMeta {
	return metav1.ListMeta{
		ResourceVersion: strconv.FormatUint(p.Revision, 10), Continue: p.Continue, RemainingItemCount: p.Remaining,
	}
}

// inOrder compares objects as lists order them.
func inOrder(a, b *fsm.Object) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}
