package api

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/kinds"
)

// request is one authenticated and authorized resource request. It belongs to one goroutine.
type request struct {
	http  *http.Request
	info  RequestInfo
	user  auth.User
	kind  *kinds.Kind
	query url.Values
	// sub is the subresource's registration, or nil.
	sub *kinds.Subresource
	// body is a write's whole body.
	body []byte
	// warnings are sent to the client as Warning headers.
	warnings []string
	// attempt is which try of a write this is.
	attempt attempt
}

func (r *request) key() fsm.Key { return r.kind.Key(r.info.Namespace, r.info.Name) }

func (r *request) resource() schema.GroupResource { return r.kind.GroupResource() }

// bodyGVK is the type that the body must have.
func (r *request) bodyGVK() schema.GroupVersionKind {
	if r.sub != nil {
		return r.sub.GVK
	}
	return r.kind.GVK
}

// dryRun reads the option that asks for everything but the effect.
func dryRun(values []string) (bool, error) {
	for _, v := range values {
		if v != metav1.DryRunAll {
			return false, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "WriteOptions"}, "",
				field.ErrorList{field.NotSupported(field.NewPath("dryRun"), v, []string{metav1.DryRunAll})})
		}
	}
	return len(values) > 0, nil
}

// fieldValidation returns the directive on unknown and duplicate fields.
func (r *request) fieldValidation() (string, error) {
	all := []string{metav1.FieldValidationIgnore, metav1.FieldValidationWarn, metav1.FieldValidationStrict}
	v := r.query.Get("fieldValidation")
	switch v {
	case "":
		return metav1.FieldValidationWarn, nil
	case metav1.FieldValidationIgnore, metav1.FieldValidationWarn, metav1.FieldValidationStrict:
		return v, nil
	}
	return "", apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "WriteOptions"}, "",
		field.ErrorList{field.NotSupported(field.NewPath("fieldValidation"), v, all)})
}

// parseRevision reads a resource version. Empty is zero and not set.
func parseRevision(v string) (rev uint64, set bool, err error) {
	if v == "" {
		return 0, false, nil
	}
	rev, err = strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, true, apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "",
			field.ErrorList{field.Invalid(field.NewPath("resourceVersion"), v, "must be a decimal number")})
	}
	return rev, true, nil
}

// requestTimeout bounds the requests that do not say how long they may take.
type requestTimeout time.Duration

// of is how long the request with these parameters may take.
func (t requestTimeout) of(q url.Values) time.Duration {
	d, err := time.ParseDuration(q.Get("timeout"))
	if err != nil || d <= 0 {
		return time.Duration(t)
	}
	return min(d, maxRequestTimeout)
}
