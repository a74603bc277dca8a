package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A change is refused with the reason: only a gateway that hears nothing cannot reach its
// fleet.
func TestFleet_noChange(t *testing.T) {
	_, _, otherKey := keyring{secondKey}.open("d/head", keyring{oldKey}.seal("d/head", 1, nil))
	for _, test := range []struct {
		name    string
		problem error
		want    *apikey.Error
	}{
		{"none yet", nil, apikey.ErrFleetUnavailable},
		{"etcd is too slow", explain(context.DeadlineExceeded), apikey.ErrFleetUnavailable},
		{"another integrity key", otherKey, apikey.ErrFleetKeyMissing},
		{"no permission", explain(rpctypes.ErrPermissionDenied), apikey.ErrFleetNoPart},
		{"etcd is full", explain(rpctypes.ErrNoSpace), apikey.ErrFleetFull},
	} {
		f := &Fleet{log: zaptest.NewLogger(t)}
		if test.problem != nil {
			f.fail(test.problem)
		}
		if got := f.answer(errors.New("this gateway does not follow its fleet")); !errors.Is(got, test.want) {
			t.Errorf("%s: got %v, want %q", test.name, got, test.want.Message)
		}
	}
}

// A gateway that takes part, but may not write, hears from its fleet.
func TestFleet_noWriting(t *testing.T) {
	f := &Fleet{log: zaptest.NewLogger(t)}
	for err, want := range map[error]*apikey.Error{
		rpctypes.ErrPermissionDenied: apikey.ErrFleetNoPart,
		rpctypes.ErrCorrupt:          apikey.ErrFleetNoPart,
		rpctypes.ErrInvalidAuthToken: apikey.ErrFleetUnavailable,
		rpctypes.ErrNoLeader:         apikey.ErrFleetUnavailable,
		rpctypes.ErrRequestTooLarge:  apikey.ErrFleetUnavailable,
		rpctypes.ErrTooManyRequests:  apikey.ErrFleetUnavailable,
		context.DeadlineExceeded:     apikey.ErrFleetUnavailable,
	} {
		if got := f.answer(explain(err)); !errors.Is(got, want) {
			t.Errorf("%v: got %v, want %q", err, got, want.Message)
		}
	}
}

// Only a gateway that hears nothing says that it has heard nothing.
func TestRefusal(t *testing.T) {
	silent := fmt.Errorf("no member of etcd answers: %w", errors.Join(explain(status.Error(codes.Unavailable, "connection refused")), context.DeadlineExceeded))
	_, _, otherKey := keyring{secondKey}.open("d/head", keyring{oldKey}.seal("d/head", 1, nil))
	for _, test := range []struct {
		name   string
		served bool
		err    error
		want   *apikey.Error
	}{
		{"just started", false, nil, apikey.ErrFleetJoining},
		{"started without etcd", false, silent, apikey.ErrFleetJoining},
		{"the lease has ended", true, nil, apikey.ErrFleetSilent},
		{"etcd is silent", true, silent, apikey.ErrFleetSilent},
		{"etcd is too slow", true, explain(context.DeadlineExceeded), apikey.ErrFleetSilent},
		{"etcd has no leader", true, explain(rpctypes.ErrNoLeader), apikey.ErrFleetSilent},
		{"fenced", true, errFenced, apikey.ErrFleetExcluded},
		{"etcd is full", true, explain(rpctypes.ErrNoSpace), apikey.ErrFleetNoRoom},
		{"etcd is full from the start", false, explain(rpctypes.ErrNoSpace), apikey.ErrFleetNoRoom},
		{"another integrity key", true, otherKey, apikey.ErrFleetUnusable},
		{"another integrity key from the start", false, otherKey, apikey.ErrFleetUnusable},
		{"forged", true, fmt.Errorf("d/head: %w", errUnsealed), apikey.ErrFleetUnusable},
		{"no permission", true, explain(rpctypes.ErrPermissionDenied), apikey.ErrFleetUnusable},
		{"wrong password", false, explain(rpctypes.ErrAuthFailed), apikey.ErrFleetUnusable},
		{"ended", true, &endedError{}, apikey.ErrFleetUnusable},
		{"another history", true, otherHistory(apikey.Head{}, apikey.Head{}), apikey.ErrFleetLost},
	} {
		f := &Fleet{log: zaptest.NewLogger(t)}
		f.lease.was.Store(test.served)
		if test.err != nil {
			f.fail(test.err)
		}
		if got := f.Refusal(); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got.Message, test.want.Message)
		}
	}
}
