package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// violations are all reasons for a refusal, in the order in which the documentation
// says they are checked.
var violations = []struct {
	name  string
	want  Result
	apply func(*attempt)
}{

	{"method", MethodNotAllowed, func(a *attempt) { a.facts.Method = http.MethodTrace }},
	{"early data", EarlyData, func(a *attempt) { a.facts.EarlyData, a.facts.OtherMethod = true, true }},
	{"preflight", Preflight, func(a *attempt) { a.facts.Preflight = true }},
	{"missing", Missing, func(a *attempt) { a.facts.Authorization = nil }},
	{"malformed", Malformed, func(a *attempt) { a.facts.Authorization = []string{"Bearer x"} }},
	{"closed", Unavailable, func(a *attempt) { a.closed = true }},
	{"no lease", Unavailable, func(a *attempt) { a.lapsed = true }},
	{"broken store", Unavailable, func(a *attempt) { a.broken = true }},
	{"unknown", Unknown, func(a *attempt) { a.unknown = true }},
	{"revoked", Revoked, func(a *attempt) { a.key.RevokedAt = epoch }},
	{"expired", Expired, func(a *attempt) { a.key.ExpiresAt = epoch }},
	{"suspended", Suspended, func(a *attempt) { a.suspended = true }},
	{"browser", Browser, func(a *attempt) { a.facts.Browser = true }},
	{"read-only", ReadOnly, func(a *attempt) { a.facts.WebSocket, a.key.Preset = true, apikey.ReadOnly }},
}

type attempt struct {
	facts                                      Facts
	key                                        apikey.Key
	closed, lapsed, broken, unknown, suspended bool
}

func (at attempt) check(t *testing.T) Decision {
	t.Helper()
	s := new(source)
	if !at.unknown {
		s.put(at.key)
	}
	if at.broken {
		s.during = func(*apikey.Key) (*apikey.Key, error) { return nil, errors.New("broken") }
	}
	if at.suspended {
		s.suspended = []string{at.key.WorkspaceID}
	}
	a := newAuthenticator(t, s, atEpoch)
	a.Require(newLease(!at.lapsed))
	if at.closed {
		a.Close()
	}
	return a.Check(context.Background(), policy, &at.facts)
}

// A request with several violations is refused for the first one. Its key is named
// only if the complete token matched.
func TestCheck_order(t *testing.T) {
	token, key := fullKey()
	for set := range 1 << len(violations) {
		at := attempt{facts: *request(http.MethodGet, token), key: key}
		want := Allowed
		var names []string
		// Backwards, so that of two that set the same field, the first wins.
		for i := len(violations) - 1; i >= 0; i-- {
			if set>>i&1 == 1 {
				violations[i].apply(&at)
				want = violations[i].want
				names = append(names, violations[i].name)
			}
		}
		d := at.check(t)
		if d.Result != want {
			t.Errorf("%v: got %s, want %s", names, d.Result, want)
		}
		matched := slices.Contains([]Result{Revoked, Expired, Suspended, Browser, ReadOnly, Allowed}, want)
		if got := d.Key != nil; got != matched {
			t.Errorf("%v: got a key: %t, want %t", names, got, matched)
		}
	}
}
