package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/holt-project/holt/fsm"
	"github.com/holt-project/holt/server/auth"
	"github.com/holt-project/holt/server/storage"
)

// The nature of an error of the log, told by a method. Each promises what it says: only an error with none of the
// first four may hide a write that was applied.
type (
	notLeader      interface{ NotLeader() bool }      // certainly not applied: this server does not lead
	noQuorum       interface{ NoQuorum() bool }       // certainly not applied, or not readable: too few servers
	tooLarge       interface{ TooLarge() bool }       // certainly not applied: over the log's limit
	overloaded     interface{ Overloaded() bool }     // certainly not applied: try again later
	unknownOutcome interface{ UnknownOutcome() bool } // proposed, and perhaps applied
)

func isNotLeader(err error) bool {
	var e notLeader
	return errors.As(err, &e) && e.NotLeader()
}

func isNoQuorum(err error) bool {
	var e noQuorum
	return errors.As(err, &e) && e.NoQuorum()
}

func isOverloaded(err error) bool {
	var e overloaded
	return errors.As(err, &e) && e.Overloaded()
}

func isTooLarge(err error) bool {
	var e tooLarge
	return errors.As(err, &e) && e.TooLarge()
}

func isUnknown(err error) bool {
	var e unknownOutcome
	return errors.As(err, &e) && e.UnknownOutcome()
}

// unknownError wraps an error of Propose whose outcome is open.
type unknownError struct{ err error }

func (e unknownError) Error() string        { return "the outcome of the write is unknown: " + e.err.Error() }
func (e unknownError) Unwrap() error        { return e.err }
func (e unknownError) UnknownOutcome() bool { return true }

// retrySeconds is what clients are told to wait where waiting helps.
const retrySeconds = 1

// fullRetrySeconds is what they are told when somebody has to delete something first.
const fullRetrySeconds = 10

// statusOf maps every error to the Status that the client gets. It is the only place that does.
func statusOf(err error) metav1.Status {
	var api apierrors.APIStatus
	var maxBytes *http.MaxBytesError
	if status, ok := storageStatus(err); ok {
		return status
	}
	switch {
	case errors.As(err, &api):
		return api.Status()
	case isUnknown(err):
		return apierrors.NewTimeoutError(err.Error()+"; read the object before trying again", retrySeconds).ErrStatus
	case isNotLeader(err):
		return unavailable("no server leads the cluster at present")
	case isNoQuorum(err):
		return unavailable("too few servers of the cluster are reachable: " + err.Error())
	case isOverloaded(err):
		return apierrors.NewTooManyRequests(err.Error(), retrySeconds).ErrStatus
	case errors.Is(err, fsm.ErrFull):
		return apierrors.NewTooManyRequests(err.Error(), fullRetrySeconds).ErrStatus
	case isTooLarge(err):
		return apierrors.NewRequestEntityTooLargeError(err.Error()).ErrStatus
	case errors.As(err, &maxBytes):
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBytes.Limit)).ErrStatus
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded):
		return apierrors.NewTimeoutError("the request was not finished in time: "+err.Error(), retrySeconds).ErrStatus
	}
	return apierrors.NewInternalError(err).ErrStatus
}

// storageStatus maps the errors of storage.
func storageStatus(err error) (metav1.Status, bool) {
	var invalid *storage.InvalidError
	var expired *storage.ExpiredError
	var tooLarge *storage.TooLargeError
	switch {
	case errors.As(err, &expired): // the client must list again
		status := apierrors.NewResourceExpired(expired.Error()).ErrStatus
		status.Continue = expired.Continue
		return status, true
	case errors.As(err, &tooLarge):
		status := apierrors.NewTimeoutError(tooLarge.Error(), retrySeconds).ErrStatus
		status.Details.Causes = []metav1.StatusCause{
			{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
		return status, true
	case errors.As(err, &invalid):
		return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: "ListOptions"}, "", invalid.Errs).ErrStatus, true
	case errors.Is(err, storage.ErrBadOptions):
		return apierrors.NewBadRequest(err.Error()).ErrStatus, true
	}
	return metav1.Status{}, false
}

func unavailable(message string) metav1.Status {
	s := apierrors.NewServiceUnavailable(message).ErrStatus
	s.Details = &metav1.StatusDetails{RetryAfterSeconds: retrySeconds}
	return s
}

func statusError(code int32, reason metav1.StatusReason, format string, args ...any) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: fmt.Sprintf(format, args...),
	}}
}

func badRequest(format string, args ...any) error {
	return apierrors.NewBadRequest(fmt.Sprintf(format, args...))
}

func errNoRoute() error {
	return statusError(http.StatusNotFound, metav1.StatusReasonNotFound, "the server could not find the requested resource")
}

func errMethod(gr schema.GroupResource, verb string) error {
	return apierrors.NewMethodNotSupported(gr, verb)
}

func errModified(gr schema.GroupResource, name string) error {
	return apierrors.NewConflict(gr, name, errors.New(
		"the object has been modified; please apply your changes to the latest version and try again"))
}

func errMediaType(accepted string) error {
	return statusError(http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType,
		"the body of the request was in an unknown format - accepted media types include: %s", accepted)
}

func errNotAcceptable() error {
	return statusError(http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable,
		"only the following media types are accepted: %s", acceptedTypes)
}

// errForbidden words a refusal as Kubernetes does.
func errForbidden(a auth.Attributes, reason string) error {
	if !a.ResourceRequest {
		return statusError(http.StatusForbidden, metav1.StatusReasonForbidden, "forbidden: %s",
			because(fmt.Sprintf("User %q cannot %s path %q", a.User.Name, a.Verb, a.Path), reason))
	}
	resource := a.Resource
	if a.Subresource != "" {
		resource += "/" + a.Subresource
	}
	where := "at the cluster scope"
	if a.Namespace != "" {
		where = fmt.Sprintf("in the namespace %q", a.Namespace)
	}
	msg := fmt.Sprintf("User %q cannot %s resource %q in API group %q %s", a.User.Name, a.Verb, resource, a.Group, where)
	return apierrors.NewForbidden(schema.GroupResource{Group: a.Group, Resource: a.Resource}, a.Name,
		errors.New(because(msg, reason)))
}

func because(message, reason string) string {
	if reason == "" {
		return message
	}
	return message + ": " + reason
}
