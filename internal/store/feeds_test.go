package store

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

func wantFeed(t *testing.T, s *Store, token apikey.FeedToken, workspaceID string) {
	t.Helper()
	got, err := s.Feed(t.Context(), token.Digest())
	if workspaceID == "" {
		if !errors.Is(err, apikey.ErrNotFound) || got != "" {
			t.Errorf("Feed: got %q and error %v, want not found", got, err)
		}
		return
	}
	if err != nil || got != workspaceID {
		t.Errorf("Feed: got %q and error %v, want %q", got, err, workspaceID)
	}
}

func TestFeed(t *testing.T) {
	s := openNew(t)
	first, second, other := apikey.NewFeedToken(), apikey.NewFeedToken(), apikey.NewFeedToken()
	wantFeed(t, s, first, "")

	outcome := mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: first.Digest()})
	if outcome.Event.Operation != "calendar_feed" || outcome.Event.WorkspaceID != "acme" || outcome.Event.Details["replaced"] != false {
		t.Errorf("got the event %+v, want that of acme's first feed", outcome.Event)
	}
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acm", Digest: other.Digest()})
	s = reopen(t, s)
	wantFeed(t, s, first, "acme")

	outcome = mustApply(t, s, start.Add(time.Second), apikey.OpenFeed{WorkspaceID: "acme", Digest: second.Digest()})
	if outcome.Event.Details["replaced"] != true {
		t.Errorf("got the event %+v, want that of a feed in place of another", outcome.Event)
	}
	wantFeed(t, s, first, "")
	wantFeed(t, s, second, "acme")

	outcome = mustApply(t, s, start.Add(2*time.Second), apikey.CloseFeed{WorkspaceID: "acme"})
	if outcome.Unchanged || outcome.Event.Operation != "calendar_feed_revoke" || outcome.Event.WorkspaceID != "acme" {
		t.Errorf("got %+v, want the feed to have ended", outcome)
	}
	wantFeed(t, s, second, "")
	wantFeed(t, s, other, "acm")
	if outcome = mustApply(t, s, start.Add(3*time.Second), apikey.CloseFeed{WorkspaceID: "acme"}); !outcome.Unchanged {
		t.Errorf("got %+v, want no feed to have been there", outcome)
	}
}

// Nothing that is kept holds a feed token.
func TestFeed_tokenIsNotKept(t *testing.T) {
	s := openNew(t)
	token := apikey.NewFeedToken()
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: token.Digest()})
	digest := token.Digest()
	hasDigest := false
	err := s.view(func(txn *durable.Txn) error {
		for key, value := range txn.Below(nil) {
			record := slices.Concat(key, value)
			hasDigest = hasDigest || bytes.Contains(record, digest[:])
			if bytes.Contains(record, []byte(token.Reveal()[4:])) {
				t.Errorf("%q holds the feed token", key)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "a record holds its digest", hasDigest, true)
}

// TestFeed_restored: a feed that has ended in the store or in the backup stays
// ended, however long ago that is.
func TestFeed_restored(t *testing.T) {
	s := openNew(t)
	first, second := apikey.NewFeedToken(), apikey.NewFeedToken()
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: first.Digest()})
	old := mustBackup(t, s, start)
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: second.Digest()})
	mustApply(t, s, start, apikey.CloseFeed{WorkspaceID: "acme"})
	later := start.Add(5 * 365 * 24 * time.Hour)
	if _, err := s.ForgetEvents(t.Context(), later, later); err != nil {
		t.Fatal(err)
	}
	newer := mustBackup(t, s, later)

	mustRestore(t, s, old, later)
	wantFeed(t, s, first, "")
	wantFeed(t, s, second, "")

	other := openNew(t)
	mustRestore(t, other, old, later)
	wantFeed(t, other, first, "acme")
	mustRestore(t, other, newer, later)
	wantFeed(t, other, first, "")
	mustRestore(t, other, old, later)
	wantFeed(t, other, first, "")
	equal(t, "findings", told(mustCheck(t, other)), map[string]string{})

	// Where the workspace has another, the restored one is not opened, now or later.
	third := openNew(t)
	mustApply(t, third, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: second.Digest()})
	mustRestore(t, third, old, later)
	wantFeed(t, third, second, "acme")
	mustApply(t, third, later, apikey.CloseFeed{WorkspaceID: "acme"})
	mustRestore(t, third, old, later)
	wantFeed(t, third, first, "")
}

// A feed that its workspace does not know of opens nothing.
func TestFeed_damaged(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(txn *transaction, token apikey.FeedToken) error
	}{
		{"of another digest", func(txn *transaction, token apikey.FeedToken) error {
			return txn.Set(feedKey(token.Digest()), feedState{WorkspaceID: "globex"}.encode())
		}},
		{"of no workspace", func(txn *transaction, token apikey.FeedToken) error {
			return txn.Delete(workspaceFeedKey("acme"))
		}},
		{"no state", func(txn *transaction, token apikey.FeedToken) error {
			return txn.Set(feedKey(token.Digest()), nil)
		}},
		{"no record", func(txn *transaction, token apikey.FeedToken) error {
			return txn.Set(workspaceFeedKey("acme"), []byte("{}"))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			token := apikey.NewFeedToken()
			mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: token.Digest()})
			if err := behind(s, func(txn *transaction) error { return test.damage(txn, token) }); err != nil {
				t.Fatal(err)
			}
			if ws, err := s.Feed(t.Context(), token.Digest()); !errors.Is(err, apikey.ErrStoreUnavailable) || ws != "" {
				t.Errorf("Feed: got %q and error %v, want an error saying that the store cannot answer", ws, err)
			}
		})
	}
}
