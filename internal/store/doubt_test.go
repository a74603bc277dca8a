package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A key that may have been made is named to the caller who asked for it: nobody has its
// token, and after the restart it may be there.
func TestApply_createInDoubt(t *testing.T) {
	s := openNew(t)
	old := mustCreate(t, s, "acme", "Zapier", start)
	failCommits(s)
	do := rotation(old, start)
	_, err := s.Apply(t.Context(), changeAt(start, do))
	failed, ok := errors.AsType[*failure](err)
	if !ok || !strings.Contains(failed.Answer().Message, "If the key "+do.Replacement.ID+" exists then") {
		t.Fatalf("got %v, want an answer that names %s", err, do.Replacement.ID)
	}
	if strings.Contains(failed.Answer().Message, "Try again in a moment") {
		t.Errorf("got the answer %q, want that it takes a restart", failed.Answer().Message)
	}
	equal(t, "why nothing is changed", s.Unchangeable(), "the disk of the key store did not take a change: the server must be restarted")
	found := check(t, s, start)
	if len(found) != 1 || !strings.HasPrefix(found["changes"], "error: No changes are made: the last one could not be written to disk.") {
		t.Errorf("got the findings %q, want the change in doubt alone, and no damage", found)
	}
	s = reopen(t, s)
	equal(t, "findings after a restart", check(t, s, start), map[string]string{})
	key := lookup(t, s, do.Replacement.Digest)
	equal(t, "the key after a restart", key.ID, do.Replacement.ID)
	mustRevoke(t, s, key, start)
}

// Badger shows a commit before it is on the disk. When the disk then fails, the
// change can be read, and may be lost: asking again must not be answered as if
// it were done.
func TestApply_failedCommit(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(apikey.Key) apikey.Action
		told func(apikey.Key, apikey.Outcome) bool
	}{
		{"revoke", func(k apikey.Key) apikey.Action { return apikey.Revoke{WorkspaceID: "acme", KeyID: k.ID} },
			func(k apikey.Key, o apikey.Outcome) bool { return len(o.Ended) == 1 && o.Ended[0] == k.Digest }},
		{"suspend", func(apikey.Key) apikey.Action { return apikey.Suspend{WorkspaceID: "acme"} },
			func(_ apikey.Key, o apikey.Outcome) bool { return o.Workspace.Suspended() }},
		{"resume", func(apikey.Key) apikey.Action { return apikey.Resume{WorkspaceID: "globex"} }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			mustApply(t, s, start, apikey.Suspend{WorkspaceID: "globex"})
			var told []apikey.Outcome
			s.onChange = func(outcome apikey.Outcome) { told = append(told, outcome) }
			failCommits(s)
			at := start.Add(time.Hour)
			if _, err := s.Apply(t.Context(), changeAt(at, test.do(key))); !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Fatalf("got %v, want ErrStoreUnavailable", err)
			}
			if test.told == nil && len(told) > 0 {
				t.Error("told of a change that lets requests through, and may be lost")
			}
			if test.told != nil && (len(told) != 1 || !test.told(key, told[0])) {
				t.Errorf("told of %v, want to be told that the key may no longer be used", told)
			}
			restoreDisk(s)
			if _, err := s.Apply(t.Context(), changeAt(at, test.do(key))); !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Errorf("asked again: got %v, want ErrStoreUnavailable until the store is reopened", err)
			}
		})
	}
}

// What a change in doubt was to end, at once or later, is refused from then until the restart,
// although the store still shows it as it was; after the restart, the change was made.
func TestApply_endInDoubtIsRefused(t *testing.T) {
	at := start.Add(time.Hour)
	revoke := func(k apikey.Key) apikey.Action { return apikey.Revoke{WorkspaceID: k.WorkspaceID, KeyID: k.ID} }
	for _, test := range []struct {
		name        string
		do          []func(apikey.Key) apikey.Action
		want, after authn.Result
		later       time.Duration
	}{
		{"revoke", []func(apikey.Key) apikey.Action{revoke}, authn.Unavailable, authn.Revoked, 0},
		{"revoke together with another change", []func(apikey.Key) apikey.Action{revoke, func(apikey.Key) apikey.Action {
			return apikey.Create{Key: newKey("acme", "Zapier production", start)}
		}}, authn.Unavailable, authn.Revoked, 0},
		{"revoke all", []func(apikey.Key) apikey.Action{func(k apikey.Key) apikey.Action {
			return apikey.RevokeAll{WorkspaceID: k.WorkspaceID}
		}}, authn.Unavailable, authn.Revoked, 0},
		{"rotate, and revoke the old key at once", []func(apikey.Key) apikey.Action{func(k apikey.Key) apikey.Action {
			do := rotation(k, at)
			do.RevokeOldAt = at
			return do
		}}, authn.Unavailable, authn.Revoked, 0},
		{"rotate, and revoke the old key later", []func(apikey.Key) apikey.Action{func(k apikey.Key) apikey.Action {
			do := rotation(k, at)
			do.RevokeOldAt = at.Add(time.Hour)
			return do
		}}, authn.Revoked, authn.Revoked, time.Hour},
		{"suspend", []func(apikey.Key) apikey.Action{func(k apikey.Key) apikey.Action {
			return apikey.Suspend{WorkspaceID: k.WorkspaceID}
		}}, authn.Suspended, authn.Suspended, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			token, key := mustIssue(t, s, "acme", start)
			other, _ := mustIssue(t, s, "globex", start)
			var a *authn.Authenticator
			now := at.Add(time.Second)
			check := func(what string, token apikey.Token, want authn.Result) {
				t.Helper()
				facts := &authn.Facts{Method: "GET", Authorization: []string{"Bearer " + token.Reveal()}}
				equal(t, what, a.Check(t.Context(), &authn.Policy{ReadMethods: []string{"GET"}}, facts).Result, want)
			}
			judge := func() {
				var err error
				if a, err = authn.New(s, 10, func() time.Time { return now }, zap.NewNop()); err != nil {
					t.Fatal(err)
				}
				t.Cleanup(a.Close)
			}
			judge()
			s.onChange = a.Changed
			check("before", token, authn.Allowed)
			s.db.Inject(durable.Faults{Commit: func(func() error) error { return errors.New("input/output error") }})
			var changes []apikey.Change
			for _, do := range test.do {
				changes = append(changes, changeAt(at, do(key)))
			}
			errs := make([]error, 1)
			if len(changes) == 1 {
				_, errs[0] = s.Apply(t.Context(), changes[0])
			} else {
				errs = queueUp(t, s, changes...)
			}
			for i, err := range errs {
				if !errors.Is(err, apikey.ErrStoreUnavailable) {
					t.Errorf("change %d: got %v, want %v", i, err, apikey.ErrStoreUnavailable)
				}
			}
			if !lookup(t, s, key.Digest).RevokedAt.IsZero() {
				t.Fatal("the store shows the key as revoked: this proves nothing")
			}
			if test.later > 0 {
				check("in doubt, before its time", token, authn.Allowed)
				now = at.Add(test.later)
			}
			for range 3 {
				check("in doubt", token, test.want)
				check("a key of another workspace", other, authn.Allowed)
			}
			s = reopen(t, s)
			judge()
			check("after the restart", token, test.after)
			check("a key of another workspace, after the restart", other, authn.Allowed)
		})
	}
}

// mustIssue creates a key, and returns it with its token.
func mustIssue(t *testing.T, s *Store, ws string, at time.Time) (apikey.Token, apikey.Key) {
	t.Helper()
	token, key := apikey.NewToken(apikey.DefaultPrefix), newKey(ws, "Warehouse sync", at)
	key.Digest, key.TokenHint = token.Digest(), token.Hint()
	mustApply(t, s, at, apikey.Create{Key: key})
	return token, key
}
