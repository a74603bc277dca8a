package store

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func mustForgetFeeds(t testing.TB, s *Store, before, now time.Time) int {
	t.Helper()
	n, err := s.ForgetFeeds(t.Context(), before, now)
	if err != nil {
		t.Fatalf("ForgetFeeds: got error %v, want none", err)
	}
	return n
}

// What is known of a feed that ended is deleted once that is long enough ago, and no
// backup from before opens it again, in this store or in one that was restored from it.
func TestForgetFeeds(t *testing.T) {
	s := openNew(t)
	first, second := apikey.NewFeedToken(), apikey.NewFeedToken()
	noteConfirmed(t, s, start)
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: first.Digest()})
	backup := mustBackup(t, s, start)
	ended := start.Add(day)
	mustApply(t, s, ended, apikey.OpenFeed{WorkspaceID: "acme", Digest: second.Digest()})

	now := start.Add(400 * day)
	for _, step := range []struct {
		title     string
		confirmed time.Time
		before    time.Time
		forgotten int
	}{
		{"before it ended long enough ago", now, ended, 0},
		{"by a clock that is not confirmed", ended, now, 0},
		{"by a retention that goes back to before 1970", now, now.AddDate(-100, 0, 0), 0},
		{"long enough ago", now, ended.Add(time.Millisecond), 1},
		{"again", now, ended.Add(time.Millisecond), 0},
	} {
		noteConfirmed(t, s, step.confirmed)
		equal(t, step.title, mustForgetFeeds(t, s, step.before, now), step.forgotten)
		equal(t, step.title+": findings", check(t, s, step.confirmed), map[string]string{})
	}
	for record := range contents(t, s) {
		if record == string(feedKey(first.Digest())) {
			t.Errorf("the feed that ended is still known")
		}
	}
	wantFeed(t, s, second, "acme")

	mustApply(t, s, now, apikey.CloseFeed{WorkspaceID: "acme"})
	mustRestore(t, s, backup, now)
	wantFeed(t, s, first, "")

	other := openNew(t)
	mustRestore(t, other, mustBackup(t, s, now), now)
	mustRestore(t, other, backup, now)
	wantFeed(t, other, first, "")

	s = builtAnew(t, s)
	mustRestore(t, s, backup, now)
	wantFeed(t, s, first, "")
	equal(t, "findings in the end", check(t, s, now), map[string]string{})
}

// A backup from after all that was forgotten had ended opens its feeds.
func TestForgetFeeds_newerBackup(t *testing.T) {
	lost, feed := openNew(t), apikey.NewFeedToken()
	made := start.Add(2 * day)
	mustApply(t, lost, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: feed.Digest()})
	backup := mustBackup(t, lost, made)

	s, now := openNew(t), start.Add(400*day)
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "other", Digest: apikey.NewFeedToken().Digest()})
	mustApply(t, s, start, apikey.CloseFeed{WorkspaceID: "other"})
	noteConfirmed(t, s, now)
	equal(t, "forgotten", mustForgetFeeds(t, s, made, now), 1)
	mustRestore(t, s, backup, now)
	wantFeed(t, s, feed, "acme")
}

// Early backups do not say when a feed ended: no earlier than that is it forgotten.
func TestForgetFeeds_endedInEarlyBackup(t *testing.T) {
	s, token, now := openNew(t), apikey.NewFeedToken(), start.Add(400*day)
	digest := token.Digest()
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: digest})
	mustRestore(t, s, crafted(t, apikey.BackupKey{}, backupLine{EndedFeed: digest[:]}), now) // it was made at start
	wantFeed(t, s, token, "")
	noteConfirmed(t, s, now)
	equal(t, "forgotten until then", mustForgetFeeds(t, s, start, now), 0)
	equal(t, "forgotten after that", mustForgetFeeds(t, s, start.Add(time.Millisecond), now), 1)
	equal(t, "findings", check(t, s, now), map[string]string{})
}

// More feeds than one transaction could delete.
func TestForgetFeeds_many(t *testing.T) {
	const many, atOnce = 8000, 1000
	s := openNew(t)
	noteConfirmed(t, s, start.Add(day))
	for from := 0; from < many; from += atOnce {
		if err := behind(s, func(txn *transaction) error {
			for n := from; n < from+atOnce; n++ {
				digest := sha256.Sum256(binary.AppendVarint(nil, int64(n)))
				if err := putEndedFeed(txn, digest, feedState{}, toMillis(start)); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "forgotten", mustForgetFeeds(t, s, start.Add(day), start.Add(day)), many)
	equal(t, "findings", check(t, s, start.Add(day)), map[string]string{})
}

// A key that was deleted by a clock that was wrong for long stays ended when the clock
// is set back and an old backup has it as active, in this store or in one that was
// restored from it. Keys that were made since are restored as they were.
func TestForgetKeys_wrongClock(t *testing.T) {
	s := openNew(t)
	noteConfirmed(t, s, start)
	revoked, expired := mustCreate(t, s, "acme", "Revoked", start), mustCreate(t, s, "acme", "Expired", start)
	old := mustBackup(t, s, start)
	mustRevoke(t, s, revoked, start.Add(time.Minute))
	wrong, right := start.Add(600*day), start.Add(time.Hour)
	settledAt(t, s, wrong)
	equal(t, "forgotten", mustForgetKeys(t, s, wrong.Add(-400*day), wrong), 2)
	trust(t, s, wrong, right)
	backup := mustBackup(t, s, right)

	lost := openNew(t)
	since := mustCreate(t, lost, "acme", "Since", right)
	for _, into := range []*Store{builtAnew(t, s), openNew(t)} {
		mustRestore(t, into, backup, right)
		mustRestore(t, into, old, right)
		mustRestore(t, into, mustBackup(t, lost, right), right)
		for key, want := range map[*apikey.Key]apikey.Status{&revoked: apikey.Revoked, &expired: apikey.Revoked, &since: apikey.Active} {
			equal(t, "status of "+key.Name, statusOf(t, into, *key, right), want)
		}
	}
}
