package authn

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestDecision_zeroRefuses(t *testing.T) {
	var d Decision
	if d.Allowed() {
		t.Error("the zero Decision lets a request pass")
	}
}

func TestResults(t *testing.T) {
	all := Results()
	if got, want := len(all), 14; got != want {
		t.Errorf("got %d results, want %d", got, want)
	}
	slices.Sort(all)
	if got := len(slices.Compact(all)); got != 14 {
		t.Errorf("got %d different results, want 14", got)
	}
	for _, result := range all {
		if d := (Decision{Result: result}); d.Allowed() != (result == Allowed) {
			t.Errorf("%s: Allowed() = %t", result, d.Allowed())
		}
	}
}

func TestCheck(t *testing.T) {
	s := new(source)
	full, fullKey := s.add()
	readOnly, readOnlyKey := s.add()
	readOnlyKey.Preset = apikey.ReadOnly
	s.put(readOnlyKey)
	a := newAuthenticator(t, s, atEpoch)
	browsers := &Policy{ReadMethods: policy.ReadMethods, AllowBrowsers: true}

	cases := []struct {
		name   string
		token  apikey.Token
		policy *Policy
		facts  Facts
		want   Result
		action Action
	}{
		{"a read", full, policy, Facts{Method: "GET"}, Allowed, Read},
		{"a write", full, policy, Facts{Method: "POST"}, Allowed, Write},
		{"a read by a read-only key", readOnly, policy, Facts{Method: "GET"}, Allowed, Read},
		{"a write by a read-only key", readOnly, policy, Facts{Method: "POST"}, ReadOnly, Write},
		{"an override by a read-only key", readOnly, policy, Facts{Method: "GET", OtherMethod: true}, ReadOnly, Write},
		{"an override", full, policy, Facts{Method: "GET", OtherMethod: true}, Allowed, Write},
		{"a WebSocket by a read-only key", readOnly, policy, Facts{Method: "GET", WebSocket: true}, ReadOnly, Write},
		{"a WebSocket", full, policy, Facts{Method: "GET", WebSocket: true}, Allowed, Write},
		{"an extended CONNECT by a read-only key", readOnly, policy, Facts{Method: "CONNECT", WebSocket: true}, ReadOnly, Write},
		{"an extended CONNECT", full, policy, Facts{Method: "CONNECT", WebSocket: true}, Allowed, Write},
		{"CONNECT", full, policy, Facts{Method: "CONNECT"}, MethodNotAllowed, Write},
		{"TRACE", full, policy, Facts{Method: "TRACE"}, MethodNotAllowed, Write},
		{"a read in early data", full, policy, Facts{Method: "GET", EarlyData: true}, Allowed, Read},
		{"a write in early data", full, policy, Facts{Method: "POST", EarlyData: true}, EarlyData, Write},
		{"an override in early data", full, policy, Facts{Method: "GET", OtherMethod: true, EarlyData: true}, EarlyData, Write},
		{"a preflight", full, policy, Facts{Method: "OPTIONS", Preflight: true}, Preflight, Read},
		{"a preflight, browsers allowed", full, browsers, Facts{Method: "OPTIONS", Preflight: true}, Preflight, Read},
		{"a browser", full, policy, Facts{Method: "GET", Browser: true}, Browser, Read},
		{"a browser, browsers allowed", full, browsers, Facts{Method: "GET", Browser: true}, Allowed, Read},
		{"a write by a browser, browsers allowed", readOnly, browsers, Facts{Method: "POST", Browser: true}, ReadOnly, Write},
	}
	keys := map[apikey.Digest]string{full.Digest(): fullKey.ID, readOnly.Digest(): readOnlyKey.ID}
	for _, c := range cases {
		c.facts.Authorization = []string{"Bearer " + c.token.Reveal()}
		d := a.Check(context.Background(), c.policy, &c.facts)
		checkResult(t, c.name, d, c.want)
		if d.Action != c.action {
			t.Errorf("%s: got action %s, want %s", c.name, d.Action, c.action)
		}
		switch c.want {
		case MethodNotAllowed, EarlyData, Preflight:
			if d.Key != nil || d.Lookup != "" {
				t.Errorf("%s: the key was looked up", c.name)
			}
		default:
			if d.Key == nil || d.Key.ID() != keys[c.token.Digest()] {
				t.Errorf("%s: got key %v, want %s", c.name, d.Key, keys[c.token.Digest()])
			}
		}
	}
}

func TestCheck_status(t *testing.T) {
	cases := []struct {
		name   string
		change func(*apikey.Key)
		want   Result
	}{
		{"an instant before it expires", func(k *apikey.Key) { k.ExpiresAt = epoch.Add(time.Millisecond) }, Allowed},
		{"expires exactly now", func(k *apikey.Key) { k.ExpiresAt = epoch }, Expired},
		{"expired", func(k *apikey.Key) { k.ExpiresAt = epoch.Add(-1) }, Expired},
		{"no expiry", func(k *apikey.Key) { k.ExpiresAt = time.Time{} }, Expired},
		{"revoked now", func(k *apikey.Key) { k.RevokedAt = epoch }, Revoked},
		{"revoked, and the clock set back", func(k *apikey.Key) { k.RevokedAt = epoch.Add(time.Minute) }, Revoked},
		{"revoked and expired", func(k *apikey.Key) { k.RevokedAt, k.ExpiresAt = epoch, epoch }, Revoked},
		{"an instant before its scheduled revocation", func(k *apikey.Key) { k.RevokesAt = epoch.Add(time.Millisecond) }, Allowed},
		{"revoked by schedule exactly now", func(k *apikey.Key) { k.RevokesAt = epoch }, Revoked},
	}
	for _, c := range cases {
		s := new(source)
		token, key := s.add()
		c.change(&key)
		s.put(key)
		a := newAuthenticator(t, s, atEpoch)
		for _, how := range []Lookup{Miss, Hit} {
			d := get(a, token)
			checkResult(t, c.name+" by "+string(how), d, c.want)
			if d.Lookup != how {
				t.Errorf("%s: got lookup %q, want %q", c.name, d.Lookup, how)
			}
			if d.Key == nil || d.Key.ID() != key.ID {
				t.Errorf("%s: got no key, want it named: the whole token matched", c.name)
			}
		}
	}
}

// A cached key expires without any change to the source.
func TestCheck_expiresInCache(t *testing.T) {
	now := epoch
	s := new(source)
	token, key := s.add()
	a := newAuthenticator(t, s, func() time.Time { return now })
	checkResult(t, "new", get(a, token), Allowed)
	now = key.ExpiresAt.Add(-1)
	checkResult(t, "an instant before it expires", get(a, token), Allowed)
	now = key.ExpiresAt
	checkResult(t, "expires now", get(a, token), Expired)
	if got := s.lookups.Load(); got != 1 {
		t.Errorf("got %d look-ups, want 1", got)
	}
}

// The cache holds the key, not the decision.
func TestCheck_cachedReadThenWrite(t *testing.T) {
	s := new(source)
	token, key := s.add()
	key.Preset = apikey.ReadOnly
	s.put(key)
	a := newAuthenticator(t, s, atEpoch)
	check := func(method string) Decision {
		return a.Check(context.Background(), policy, request(method, token))
	}
	checkResult(t, "first read", check(http.MethodGet), Allowed)
	checkResult(t, "write", check(http.MethodPost), ReadOnly)
	checkResult(t, "second read", check(http.MethodGet), Allowed)
	checkResult(t, "another write", check(http.MethodDelete), ReadOnly)
}

// A request that has passed a check is judged again by the current state of its
// key, and not by its credentials.
func TestCheck_again(t *testing.T) {
	s := new(source)
	token, key := s.add()
	a := newAuthenticator(t, s, atEpoch)
	limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(2, time.Minute)}
	first := a.Check(context.Background(), limited, request(http.MethodGet, token))
	checkResult(t, "first", first, Allowed)
	again := func(policy *Policy, method string) Decision {
		pass := &Pass{Key: first.Key, Action: first.Action, Limit: first.KeyQuota.Limit}
		return a.Check(context.Background(), policy, &Facts{Method: method, Before: pass})
	}
	for range 3 { // counted in this limit already
		checkResult(t, "again, by the same limit", again(limited, http.MethodGet), Allowed)
	}
	stricter := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(1, time.Minute)}
	checkResult(t, "by a limit of its own", again(stricter, http.MethodGet), Allowed)
	checkResult(t, "by that limit once more", again(stricter, http.MethodGet), RateLimited)
	shared := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(2, time.Minute), WorkspaceLimit: limitOf(1, time.Minute)}
	counted := again(shared, http.MethodGet)
	checkResult(t, "by a limit of the workspace", counted, Allowed)
	both := &Pass{Key: first.Key, Action: Write, WorkspaceLimit: counted.WorkspaceQuota.Limit}
	checkResult(t, "by that limit, counted as a write before", a.Check(context.Background(), &Policy{ReadMethods: policy.ReadMethods,
		WorkspaceLimit: shared.WorkspaceLimit}, &Facts{Method: http.MethodGet, Before: both}), Allowed)
	checkResult(t, "by that limit once more", again(shared, http.MethodGet), RateLimited)
	checkResult(t, "a method that makes no sense", again(limited, http.MethodTrace), MethodNotAllowed)

	a.suspended.set(key.WorkspaceID, true)
	checkResult(t, "suspended since", again(limited, http.MethodGet), Suspended)
	a.suspended.set(key.WorkspaceID, false)
	key.RevokedAt = epoch
	s.put(key)
	a.Changed(apikey.Outcome{Stale: []apikey.Digest{key.Digest}})
	checkResult(t, "revoked since", again(limited, http.MethodGet), Revoked)
	a.Close()
	checkResult(t, "closed since", again(limited, http.MethodGet), Unavailable)
}

func TestCheck_suspension(t *testing.T) {
	s := &source{suspended: []string{"acme", "other"}}
	token, _ := s.add()
	a := newAuthenticator(t, s, atEpoch)
	checkResult(t, "suspended at the start", get(a, token), Suspended)

	resumed := func(id string) { a.Changed(apikey.Outcome{Workspace: apikey.Workspace{ID: id}}) }
	suspended := func(id string) {
		a.Changed(apikey.Outcome{Workspace: apikey.Workspace{ID: id, SuspendedAt: epoch}})
	}
	resumed("other")
	checkResult(t, "another workspace resumed", get(a, token), Suspended)
	resumed("acme")
	checkResult(t, "resumed", get(a, token), Allowed)
	for _, id := range []string{"ac", "acme2", "ACME", "Acme", "acme."} {
		suspended(id)
		checkResult(t, id+" suspended", get(a, token), Allowed)
	}
	suspended("acme")
	checkResult(t, "suspended again", get(a, token), Suspended)
	a.Changed(apikey.Outcome{Stale: []apikey.Digest{token.Digest()}})
	checkResult(t, "after a change that concerns no workspace", get(a, token), Suspended)
}

func TestNew_suspensionsUnreadable(t *testing.T) {
	broken := errors.New("broken")
	a, err := New(brokenSource{err: broken}, 10, atEpoch, zap.NewNop())
	if !errors.Is(err, broken) || a != nil {
		t.Errorf("got %v, %v, want %v", a, err, broken)
	}
	if err != nil && !strings.Contains(err.Error(), "suspended workspaces") {
		t.Errorf("got %q, which does not say what was read", err)
	}
}

type brokenSource struct {
	Source
	err error
}

func (b brokenSource) SuspendedWorkspaces() ([]string, error) { return nil, b.err }
