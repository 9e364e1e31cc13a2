package storage

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ErrBadOptions is wrapped by errors about an option that cannot be understood: a resource version that is no number, a
// continue token that no server made, a field that the kind does not offer.
var ErrBadOptions = errors.New("bad options")

// badOptions is an ErrBadOptions with a message of its own.
type badOptions struct{ message string }

func (e *badOptions) Error() string { return e.message }

func (e *badOptions) Is(target error) bool { return target == ErrBadOptions }

func errBadOptions(format string, args ...any) error {
	return &badOptions{fmt.Sprintf(format, args...)}
}

// InvalidError says that options contradict each other.
type InvalidError struct{ Errs field.ErrorList }

func (e *InvalidError) Error() string { return e.Errs.ToAggregate().Error() }

// ExpiredError says that the history which was asked for is no longer kept: the client must list again.
type ExpiredError struct {
	// Continue, if set, goes on with the list where it stopped, but at the newest revision.
	Continue string
	message  string
}

func (e *ExpiredError) Error() string { return e.message }

// TooLargeError says that this server has not reached the revision which was asked for. It may soon.
type TooLargeError struct{ Want, Have uint64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("Too large resource version: %d, current: %d", e.Want, e.Have)
}
