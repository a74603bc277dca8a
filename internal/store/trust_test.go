package store

import (
	"fmt"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// settledAt has the confirmed time be so late, and the keys that ended settled.
func settledAt(t *testing.T, s *Store, at time.Time) {
	t.Helper()
	noteClock(t, s, apikey.ClockNote{Confirmed: at})
	if err := s.SettleEnds(t.Context(), at); err != nil {
		t.Fatal(err)
	}
}

func trust(t *testing.T, s *Store, judged, right time.Time) apikey.Outcome {
	t.Helper()
	outcome := mustApply(t, s, right, apikey.TrustClock{
		Clock: apikey.ClockReading{Machine: right, Confirmed: judged, Judged: judged}, Reason: "NTP has set it",
	})
	if err := s.SettleEnds(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	return outcome
}

// Setting the confirmed time back makes the keys active that had expired only by
// the later one. It brings no revoked key back.
func TestTrustClock(t *testing.T) {
	for _, ahead := range []time.Duration{91 * day, 600 * day} {
		t.Run(ahead.String(), func(t *testing.T) {
			s := openNew(t)
			right, wrong := start.Add(time.Hour), start.Add(ahead)
			alive := mustCreate(t, s, "acme", "Zapier", start)
			ended := newKey("acme", "Nightly", start)
			ended.ExpiresAt = start.Add(time.Minute)
			mustApply(t, s, start, apikey.Create{Key: ended})
			revoked := mustCreate(t, s, "acme", "Export", start)
			mustRevoke(t, s, revoked, start)
			old, replacement := mustCreate(t, s, "acme", "Import", start), newKey("acme", "", start)
			mustApply(t, s, start, apikey.Rotate{WorkspaceID: "acme", KeyID: old.ID, Replacement: replacement, RevokeOldAt: start.Add(2 * day)})
			named := mustCreate(t, s, "acme", "CRM", start)
			settledAt(t, s, wrong)
			successor := mustCreate(t, s, "acme", "CRM", wrong)
			equal(t, "active, expired, revoked by the wrong time", counts(t, s, "acme", wrong), [3]int{1, 4, 2})

			outcome := trust(t, s, wrong, right)
			equal(t, "trusted", outcome.Trusted, right)
			equal(t, "revoked", outcome.Revoked, 2)
			for key, want := range map[*apikey.Key]apikey.Status{
				&alive: apikey.Active, &ended: apikey.Expired, &revoked: apikey.Revoked, &old: apikey.Revoked,
				&replacement: apikey.Active, &named: apikey.Revoked, &successor: apikey.Active,
			} {
				got := lookup(t, s, key.Digest)
				equal(t, "status of "+got.Name, got.Status(right), want)
			}
			equal(t, "active, expired, revoked", counts(t, s, "acme", right), [3]int{3, 1, 3})
			equal(t, "when the old key was revoked", lookup(t, s, old.Digest).RevokedAt, start.Add(2*day))
			refused(t, s, right, apikey.Create{Key: newKey("acme", "Zapier", right)}, apikey.ErrNameTaken)
			wrongs := check(t, s, right)
			delete(wrongs, "clock") // the successor is from the future
			equal(t, "findings", wrongs, map[string]string{})

			other := openNew(t)
			mustRestore(t, other, mustBackup(t, s, right), right)
			equal(t, "active, expired, revoked in a restored store", counts(t, other, "acme", right), [3]int{3, 1, 3})

			// It outlives a crash, and the loss of Badger's files.
			rebuilt := rebuildFrom(t, s)
			note, err := rebuilt.ClockNote()
			if err != nil || note != (apikey.ClockNote{Confirmed: right}) {
				t.Errorf("after Badger's files were rebuilt: got %v, %v, want the time that was trusted", note, err)
			}
		})
	}
}

// Of the keys that had one name, one after the other, and have all expired by the time
// that is set back, only the last gets it back, together with its replacements.
func TestTrustClock_nameOfSeveral(t *testing.T) {
	s := openNew(t)
	right, wrong := start.Add(time.Hour), start.Add(1000*day)
	first := mustCreate(t, s, "acme", "CRM", start)
	rotated := mustRotate(t, s, first, start)
	other := mustCreate(t, s, "acme", "Zapier", start)
	settledAt(t, s, start.Add(91*day))
	second := mustCreate(t, s, "acme", "crm", start.Add(91*day))
	elsewhere := mustCreate(t, s, "globex", "CRM", start.Add(91*day))
	settledAt(t, s, start.Add(200*day))
	third := mustCreate(t, s, "acme", "CRM", start.Add(200*day))
	replacement := mustRotate(t, s, third, start.Add(200*day))
	settledAt(t, s, wrong)

	equal(t, "revoked", trust(t, s, wrong, right).Revoked, 3)
	for key, want := range map[*apikey.Key]apikey.Status{
		&first: apikey.Revoked, &rotated: apikey.Revoked, &second: apikey.Revoked,
		&third: apikey.Active, &replacement: apikey.Active, &other: apikey.Active, &elsewhere: apikey.Active,
	} {
		got := lookup(t, s, key.Digest)
		equal(t, "status of "+got.ID, got.Status(right), want)
	}
	equal(t, "why", lookup(t, s, first.Digest).RevokeReason, "its name was given to "+replacement.ID)
	equal(t, "active in acme", counts(t, s, "acme", right), [3]int{3, 0, 3})
}

// A note that was read before the clock was set does not undo that.
func TestTrustClock_noteFromBefore(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start.Add(91 * day), Ahead: day})
	trust(t, s, start.Add(91*day), start)
	note, err := s.ClockNote()
	if err != nil || note != (apikey.ClockNote{Confirmed: start}) {
		t.Errorf("got %v, %v, want nothing of the note before", note, err)
	}
	later := apikey.ClockNote{Confirmed: start.Add(time.Minute)}
	noteClock(t, s, later)
	if note, err := s.ClockNote(); err != nil || note != later {
		t.Errorf("got %v, %v, want %v", note, err, later)
	}
}

// A clock that is ahead is trusted without ending anything.
func TestTrustClock_ahead(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start, Ahead: 40 * day})
	key := mustCreate(t, s, "acme", "Zapier", start)
	right := start.Add(40 * day)
	mustApply(t, s, right, apikey.TrustClock{Clock: apikey.ClockReading{Machine: right, Confirmed: start, Judged: right}})
	note, err := s.ClockNote()
	if err != nil || note != (apikey.ClockNote{Confirmed: right}) {
		t.Errorf("got %v, %v, want the machine's time", note, err)
	}
	got := lookup(t, s, key.Digest)
	equal(t, "status", got.Status(right), apikey.Active)
	agreeing := apikey.ClockReading{Machine: right, Confirmed: right, Judged: right}
	refused(t, s, right, apikey.TrustClock{Clock: agreeing}, apikey.ErrClockAgrees)
}

// More keys than one transaction holds are revoked before the clock is set.
func TestTrustClock_manyKeys(t *testing.T) {
	s := openNew(t)
	var keys []apikey.Key
	for i := range 2*maxRevoked + 1 {
		key := newKey("acme", fmt.Sprint("Number ", i), start)
		key.RevokesAt = start.Add(day)
		keys = append(keys, key)
	}
	putKeys(t, s, keys)
	settledAt(t, s, start.Add(91*day))
	outcome := trust(t, s, start.Add(91*day), start)
	equal(t, "revoked", outcome.Revoked, len(keys))
	equal(t, "told to end", len(outcome.Ended), len(keys))
	equal(t, "active, expired, revoked", counts(t, s, "acme", start), [3]int{0, 0, len(keys)})
	equal(t, "events", len(allEvents(t, s, "")), 3)
}
