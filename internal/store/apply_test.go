package store

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestApply_revoke(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	at := start.Add(time.Hour)
	want := key
	want.RevokedAt, want.RevokedBy, want.RevokeReason = at, "tester", "left"
	ended := []apikey.Digest{key.Digest}
	equal(t, "outcome", bare(mustRevoke(t, s, key, at)), apikey.Outcome{Key: want, Revoked: 1, Stale: ended, Ended: ended})
	equal(t, "by its digest", lookup(t, s, key.Digest), want)

	again := mustRevoke(t, s, key, at.Add(time.Hour))
	equal(t, "outcome of doing it again", bare(again), apikey.Outcome{Key: want, Unchanged: true})
	equal(t, "number of events", len(allEvents(t, s, "acme")), 2)
}

func TestApply_revokeExpiredKey(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	at := key.ExpiresAt.Add(day)
	if outcome := mustRevoke(t, s, key, at); outcome.Unchanged || outcome.Key.Status(at) != apikey.Revoked {
		t.Errorf("revoking an expired key: got unchanged %t, status %s; want a revoked key", outcome.Unchanged, outcome.Key.Status(at))
	}
}

func TestApply_revokeUnknownKey(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for _, test := range []struct{ title, ws, id string }{
		{"of another workspace", "other", key.ID},
		{"of a workspace in another case", "Acme", key.ID},
		{"of no workspace", "", key.ID},
		{"never made", "acme", apikey.NewKeyID(start)},
		{"empty", "acme", ""},
		{"the beginning of an id", "acme", key.ID[:len(key.ID)-1]},
	} {
		t.Run(test.title, func(t *testing.T) {
			refused(t, s, start, apikey.Revoke{WorkspaceID: test.ws, KeyID: test.id}, apikey.ErrNotFound)
		})
	}
	equal(t, "the key", lookup(t, s, key.Digest), key)
}

func TestApply_suspendAndResume(t *testing.T) {
	s := openNew(t)
	at := start.Add(time.Hour)
	idle := apikey.Workspace{ID: "acme"}
	paused := apikey.Workspace{ID: "acme", SuspendedAt: at, Reason: "unpaid"}
	suspend := apikey.Suspend{WorkspaceID: "acme", Reason: "unpaid"}
	resume := apikey.Resume{WorkspaceID: "acme"}
	for _, step := range []struct {
		title     string
		at        time.Time
		do        apikey.Action
		want      apikey.Outcome
		suspended bool
	}{
		{"resume before any suspension", start, resume, apikey.Outcome{Workspace: idle, Unchanged: true}, false},
		{"suspend", at, suspend, apikey.Outcome{Workspace: paused}, true},
		{"suspend again", at.Add(day), apikey.Suspend{WorkspaceID: "acme", Reason: "other"}, apikey.Outcome{Workspace: paused, Unchanged: true}, true},
		{"resume", at.Add(day), resume, apikey.Outcome{Workspace: idle}, false},
		{"resume again", at.Add(day), resume, apikey.Outcome{Workspace: idle, Unchanged: true}, false},
		{"suspend after a resume", at, suspend, apikey.Outcome{Workspace: paused}, true},
	} {
		equal(t, step.title, bare(mustApply(t, s, step.at, step.do)), step.want)
		equal(t, step.title+": suspended", suspended(t, s, "acme"), step.suspended)
	}
	var operations []apikey.Operation
	for _, event := range allEvents(t, s, "acme") {
		operations = append(operations, event.Operation)
	}
	equal(t, "operations", operations, []apikey.Operation{apikey.OpSuspend, apikey.OpResume, apikey.OpSuspend})
}

// Each change leaves one event behind, which is in the trail of its workspace
// and in the trail of all.
func TestApply_events(t *testing.T) {
	s := openNew(t)
	key := newKey("acme", "Zapier", start)
	for _, step := range []struct {
		do   apikey.Action
		want apikey.Event
	}{
		{apikey.Create{Key: key}, apikey.Event{Operation: "create", KeyID: key.ID, Details: map[string]any{
			"name": "Zapier", "owner": "Ops", "preset": "read_only", "expires_at": "2026-05-30T12:00:00Z",
		}}},
		{apikey.Suspend{WorkspaceID: "acme", Reason: "unpaid"}, apikey.Event{Operation: "suspend", Details: map[string]any{"reason": "unpaid", "by": "operator"}}},
		{apikey.Resume{WorkspaceID: "acme"}, apikey.Event{Operation: "resume", Details: map[string]any{"by": "operator"}}},
		{apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID, Reason: "left"}, apikey.Event{Operation: "revoke", KeyID: key.ID, Details: map[string]any{
			"name": "Zapier", "reason": "left",
		}}},
	} {
		t.Run(string(step.want.Operation), func(t *testing.T) {
			before := len(allEvents(t, s, ""))
			change := changeAt(start.Add(time.Minute), step.do)
			outcome, err := s.Apply(t.Context(), change)
			if err != nil {
				t.Fatalf("Apply: got error %v, want none", err)
			}
			want := step.want
			want.ID, want.At, want.Actor, want.RemoteIP, want.WorkspaceID = change.EventID, change.At, "tester", "192.0.2.1", "acme"
			equal(t, "event of the outcome", outcome.Event, want)
			for _, ws := range []string{"", "acme"} {
				events := allEvents(t, s, ws)
				equal(t, fmt.Sprintf("events of %q", ws), len(events), before+1)
				equal(t, fmt.Sprintf("newest event of %q", ws), events[0], want)
			}
		})
	}
}

func TestApply_unknownAction(t *testing.T) {
	s := openNew(t)
	refused(t, s, start, nil, apikey.ErrStoreUnavailable)
	refused(t, s, start, stranger{}, apikey.ErrStoreUnavailable)
}

type stranger struct{}

func (stranger) Operation() apikey.Operation { return "stranger" }

func (stranger) Subject() (string, string) { return "", "" }

func TestApply_cancelled(t *testing.T) {
	s := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Apply(ctx, changeAt(start, apikey.Create{Key: newKey("acme", "Zapier", start)}))
	isUnavailable(t, "Apply", err)
	equal(t, "keys", list(t, s, "acme", apikey.KeyFilter{}, 10, start), []string{})
}

// At once: a hundred who revoke one key, of whom one did it.
func TestApply_revokeOneKeyAtOnce(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	var mu sync.Mutex
	did := 0
	failures := atOnce(100, func(int) error {
		outcome, err := s.Apply(t.Context(), changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}))
		mu.Lock()
		defer mu.Unlock()
		if err == nil && !outcome.Unchanged {
			did++
		}
		return err
	})
	equal(t, "failures", len(failures), 0)
	equal(t, "who did it", did, 1)
	equal(t, "number of events", len(allEvents(t, s, "acme")), 2)
}

// atOnce calls do from n goroutines that begin together, and returns the errors.
func atOnce(n int, do func(i int) error) (failures []error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		begin = make(chan struct{})
	)
	for i := range n {
		wg.Go(func() {
			<-begin
			if err := do(i); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failures = append(failures, err)
			}
		})
	}
	close(begin)
	wg.Wait()
	return failures
}

// The function passed to Open hears of a change when it can be read, and before the caller
// who asked for it.
func TestApply_tellsOnChange(t *testing.T) {
	type report struct {
		outcome apikey.Outcome
		stored  apikey.Key
		paused  bool
	}
	var (
		s       *Store
		reports []report
	)
	s = open(t, filepath.Join(t.TempDir(), "keys"), func(outcome apikey.Outcome) {
		r := report{outcome: outcome}
		if outcome.Key.ID != "" {
			r.stored = lookup(t, s, outcome.Key.Digest)
		} else {
			r.paused = suspended(t, s, outcome.Workspace.ID)
		}
		reports = append(reports, r)
	})
	told := func(title string, want report) {
		t.Helper()
		if len(reports) != 1 {
			t.Fatalf("%s: got %d reports when Apply had returned, want 1", title, len(reports))
		}
		want.outcome.Propagation = apikey.Propagation{} // it is known after this report
		equal(t, title, reports[0], want)
		reports = nil
	}

	created := mustApply(t, s, start, apikey.Create{Key: newKey("acme", "Zapier", start)})
	told("create", report{outcome: created, stored: created.Key})
	revoked := mustRevoke(t, s, created.Key, start)
	told("revoke", report{outcome: revoked, stored: revoked.Key})
	paused := mustApply(t, s, start, apikey.Suspend{WorkspaceID: "acme"})
	told("suspend", report{outcome: paused, paused: true})

	mustRevoke(t, s, created.Key, start)
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "acme"})
	equal(t, "reports of what changed nothing", len(reports), 0)
	refused(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: "key_none"}, apikey.ErrNotFound)
	told("a refusal", report{outcome: apikey.Outcome{Event: allEvents(t, s, "")[0]}})

	resumed := mustApply(t, s, start, apikey.Resume{WorkspaceID: "acme"})
	told("resume", report{outcome: resumed})
}

// A disk that is nearly full takes no change, and still answers reads.
func TestApply_noSpace(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	leave(s, 0)
	refused(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}, apikey.ErrNoSpace)
	equal(t, "the key", lookup(t, s, key.Digest), key)
	restoreDisk(s)
	mustRevoke(t, s, key, start)
}

// What is kept of a token is its digest and its hint.
func TestApply_keepsNoToken(t *testing.T) {
	s := openNew(t)
	token := apikey.NewToken("canary")
	key := newKey("acme", "Zapier", start)
	key.Digest, key.TokenHint = token.Digest(), token.Hint()
	mustApply(t, s, start, apikey.Create{Key: key})
	mustRevoke(t, s, key, start)
	closeStore(t, s)

	whole := []byte(token.Reveal())
	secret := whole[len("canary_"):]
	found := map[string]bool{}
	err := filepath.WalkDir(s.Path(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for what, bytesOf := range map[string][]byte{
			"the token": whole, "its secret": secret, "half of its secret": secret[:len(secret)/2], "the end of its secret": secret[len(secret)-10:],
		} {
			if bytes.Contains(content, bytesOf) {
				t.Errorf("%s holds %s", filepath.Base(path), what)
			}
		}
		found["hint"] = found["hint"] || bytes.Contains(content, []byte(token.Hint()))
		found["digest"] = found["digest"] || bytes.Contains(content, key.Digest[:])
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what was found, which shows that the search works", found, map[string]bool{"hint": true, "digest": true})
}
