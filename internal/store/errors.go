package store

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// wrapInternal returns refusals as they are, and hides internal errors behind
// ErrStoreUnavailable: a response must not contain a path or a record.
func (s *Store) wrapInternal(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*apikey.Error](err); ok {
		return err
	}
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	if _, ok := errors.AsType[*durable.ImmutableError](err); ok {
		return &failure{path: s.Path(), cause: err, answer: apikey.ErrNoChanges}
	}
	switch {
	case errors.Is(err, durable.ErrClosed):
		return apikey.ErrStoreUnavailable
	case errors.Is(err, durable.ErrNoInodes):
		return apikey.ErrNoInodes
	case errors.Is(err, durable.ErrNoSpace):
		return apikey.ErrNoSpace
	case errors.Is(err, durable.ErrInDoubt):
		return &failure{path: s.Path(), cause: err, answer: apikey.ErrInDoubt}
	case errors.Is(err, durable.ErrFailed):
		return &failure{path: s.Path(), cause: err, answer: apikey.ErrStoreFailed}
	}
	return &failure{path: s.Path(), cause: err}
}

// isInDoubt reports whether it is unknown if the change that failed with err was made. One
// that was refused because an earlier one is in doubt was not.
func isInDoubt(err error) bool {
	_, refused := errors.AsType[*durable.ImmutableError](err)
	return !refused && errors.Is(err, durable.ErrInDoubt)
}

// failure is an internal error of the store. The layers above see ErrStoreUnavailable.
// Its text is for the log, and its answer for the client.
type failure struct {
	path   string
	cause  error
	answer *apikey.Error // nil if ErrStoreUnavailable says it all
}

func (f *failure) Error() string {
	return fmt.Sprintf("key store at %q: %v", f.path, durable.Advise(f.cause))
}
func (f *failure) Unwrap() error { return f.cause }
func (f *failure) Is(target error) bool {
	return target == error(apikey.ErrStoreUnavailable) || f.answer != nil && target == error(f.answer)
}

// Answer returns the error for the client.
func (f *failure) Answer() *apikey.Error { return cmp.Or(f.answer, apikey.ErrStoreUnavailable) }

// ignoreNotFound returns nil instead of durable.ErrNotFound.
func ignoreNotFound(err error) error {
	if errors.Is(err, durable.ErrNotFound) {
		return nil
	}
	return err
}
