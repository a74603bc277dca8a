package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// rotation returns a rotation of a key whose replacement has all that it is to
// be given, and no more.
func rotation(key apikey.Key, at time.Time) apikey.Rotate {
	replacement := newKey("", "", at)
	replacement.Owner, replacement.Preset = "", ""
	return apikey.Rotate{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Replacement: replacement}
}

func mustRotate(t testing.TB, s *Store, key apikey.Key, at time.Time) apikey.Key {
	t.Helper()
	return mustApply(t, s, at, rotation(key, at)).Key
}

func TestRotate(t *testing.T) {
	s := openNew(t)
	old := newKey("acme", "Zapier", start)
	old.Preset = apikey.FullAccess
	mustApply(t, s, start, apikey.Create{Key: old})
	at := start.Add(day)
	do := rotation(old, at)
	outcome := mustApply(t, s, at, do)

	replacement := do.Replacement
	replacement.WorkspaceID, replacement.Name, replacement.Owner = "acme", "Zapier", "Ops"
	replacement.Preset, replacement.Replaces, replacement.Family = apikey.FullAccess, old.ID, old.ID
	old.ReplacedBy, old.ReplacedAt = replacement.ID, at
	equal(t, "outcome", bare(outcome), apikey.Outcome{
		Key: replacement, Replaced: old, Stale: []apikey.Digest{replacement.Digest, old.Digest},
	})
	s = reopen(t, s)
	equal(t, "the old key", lookup(t, s, old.Digest), old)
	equal(t, "the replacement", lookup(t, s, replacement.Digest), replacement)
	event := allEvents(t, s, "acme")[0]
	equal(t, "operation", event.Operation, apikey.OpRotate)
	equal(t, "key of the event", event.KeyID, old.ID)
	equal(t, "details", event.Details, map[string]any{
		"replaced_by": replacement.ID, "name": "Zapier", "owner": "Ops", "preset": "full_access", "expires_at": "2026-05-31T12:00:00Z",
	})
	equal(t, "events", len(allEvents(t, s, "")), 2)
}

func TestRotate_nameAndOwnerOfItsOwn(t *testing.T) {
	s := openNew(t)
	old := mustCreate(t, s, "acme", "Zapier", start)
	mustCreate(t, s, "acme", "Billing", start)
	do := rotation(old, start)
	kim := "Kim"
	do.Owner, do.Replacement.Preset = &kim, apikey.FullAccess
	do.Replacement.Name = "BILLING"
	refused(t, s, start, do, apikey.ErrNameTaken)
	do.Replacement.Name = "Zapier II"
	got := mustApply(t, s, start, do).Key
	equal(t, "name, owner, preset", []string{got.Name, got.Owner, string(got.Preset)}, []string{"Zapier II", "Kim", "read_only"})
	for _, name := range []string{"zapier", "zapier ii"} {
		refused(t, s, start, apikey.Create{Key: newKey("acme", name, start)}, apikey.ErrNameTaken)
	}
	refused(t, s, start, renaming(got, "Zapier"), apikey.ErrNameTaken)
}

func TestRotate_revokeOld(t *testing.T) {
	at := start.Add(day)
	for _, test := range []struct {
		title     string
		revoke    time.Time
		revokesAt time.Time
		revoked   bool
	}{
		{"never", time.Time{}, time.Time{}, false},
		{"now", at, time.Time{}, true},
		{"in the past", at.Add(-time.Second), time.Time{}, true},
		{"in a moment", at.Add(time.Millisecond), at.Add(time.Millisecond), false},
		{"later", at.Add(day), at.Add(day), false},
		{"just before its expiry", start.Add(life - time.Millisecond), start.Add(life - time.Millisecond), false},
		{"at its expiry", start.Add(life), time.Time{}, false},
		{"after its expiry", start.Add(life + day), time.Time{}, false},
	} {
		t.Run(test.title, func(t *testing.T) {
			s := openNew(t)
			old := mustCreate(t, s, "acme", "Zapier", start)
			do := rotation(old, at)
			do.RevokeOldAt = test.revoke
			outcome := mustApply(t, s, at, do)
			got := lookup(t, s, old.Digest)
			equal(t, "the old key", outcome.Replaced, got)
			equal(t, "revokes at", got.RevokesAt, test.revokesAt)
			details := allEvents(t, s, "acme")[0].Details
			if test.revoked {
				equal(t, "revoked", []any{got.RevokedAt, got.RevokedBy, got.RevokeReason}, []any{at, "tester", "replaced by " + outcome.Key.ID})
				equal(t, "ended", outcome.Ended, []apikey.Digest{old.Digest})
				equal(t, "how many", outcome.Revoked, 1)
				equal(t, "revoked_at", details["revoked_at"], any(at.Format(time.RFC3339Nano)))
				return
			}
			equal(t, "status", got.Status(at), apikey.Active)
			equal(t, "ended", len(outcome.Ended)+outcome.Revoked, 0)
			if !test.revokesAt.IsZero() {
				equal(t, "revokes_at", details["revokes_at"], any(test.revokesAt.Format(time.RFC3339Nano)))
				equal(t, "status before its end", got.Status(test.revokesAt.Add(-time.Millisecond)), apikey.Active)
				equal(t, "status at its end", got.Status(test.revokesAt), apikey.Revoked)
			}
		})
	}
}

func TestRotate_refused(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	refused(t, s, key.ExpiresAt, rotation(key, start), apikey.ErrNotActive)
	foreign := rotation(key, start)
	foreign.WorkspaceID = "other"
	refused(t, s, start, foreign, apikey.ErrNotFound)
	known := rotation(key, start)
	known.Replacement.Digest = key.Digest
	refused(t, s, start, known, apikey.ErrStoreUnavailable)
	mustRevoke(t, s, key, start)
	refused(t, s, start, rotation(key, start), apikey.ErrNotActive)
}

// A key can be rotated again once its replacement has ended, and all that
// replaced that one.
func TestRotate_again(t *testing.T) {
	s := openNew(t)
	a := mustCreate(t, s, "acme", "Zapier", start)
	b := mustRotate(t, s, a, start)
	refused(t, s, start, rotation(a, start), apikey.ErrAlreadyRotated)
	c := mustRotate(t, s, b, start)
	mustRevoke(t, s, b, start)
	refused(t, s, start, rotation(a, start), apikey.ErrAlreadyRotated)
	if _, err := s.Apply(t.Context(), changeAt(start, rotation(a, start))); err == nil || err.Error() != apikey.AlreadyRotated(c.ID).Error() {
		t.Errorf("got error %v, want the active replacement, %s, in it", err, c.ID)
	}
	mustRevoke(t, s, c, start)
	d := mustRotate(t, s, a, start)
	refused(t, s, start, rotation(a, start), apikey.ErrAlreadyRotated)
	got := lookup(t, s, a.Digest)
	equal(t, "replaced by", got.ReplacedBy, d.ID)
	equal(t, "replaces", d.Replaces, a.ID)

	// The replacement's own expiry ends it as well.
	short := rotation(d, start)
	short.Replacement.ExpiresAt = start.Add(day)
	mustApply(t, s, start, short)
	refused(t, s, start.Add(day-time.Millisecond), rotation(d, start), apikey.ErrAlreadyRotated)
	mustRotate(t, s, d, start.Add(day))
}

// An end that was announced can come closer, and is never put off.
func TestRotate_againKeepsTheEnd(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for _, step := range []struct{ ask, want time.Time }{
		{start.Add(10 * day), start.Add(10 * day)},
		{time.Time{}, start.Add(10 * day)},
		{start.Add(20 * day), start.Add(10 * day)},
		{start.Add(5 * day), start.Add(5 * day)},
	} {
		do := rotation(key, start)
		do.RevokeOldAt = step.ask
		outcome := mustApply(t, s, start, do)
		equal(t, fmt.Sprintf("asked for %v", step.ask), lookup(t, s, key.Digest).RevokesAt, step.want)
		equal(t, "the event", allEvents(t, s, "acme")[0].Details["revokes_at"], any(step.want.Format(time.RFC3339Nano)))
		mustRevoke(t, s, outcome.Key, start)
	}
}

// A name belongs to all that share it by rotation, until the last has ended,
// in whatever order they end or take other names.
func TestRotate_names(t *testing.T) {
	const name = "Zapier"
	again := func(at time.Time) apikey.Create { return apikey.Create{Key: newKey("acme", strings.ToUpper(name), at)} }
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		for _, how := range []string{"revoked", "renamed", "renamed, revoked", "revoked, renamed"} {
			t.Run(fmt.Sprint(order, how), func(t *testing.T) {
				s := openNew(t)
				a := mustCreate(t, s, "acme", name, start)
				b := mustRotate(t, s, a, start)
				c := mustRotate(t, s, b, start)
				keys := []apikey.Key{a, b, c}
				ways := strings.Split(how, ", ")
				for i, n := range order {
					refused(t, s, start, again(start), apikey.ErrNameTaken)
					switch ways[i%len(ways)] {
					case "revoked":
						mustRevoke(t, s, keys[n], start)
					case "renamed":
						mustApply(t, s, start, renaming(keys[n], fmt.Sprintf("Other %d", n)))
					}
				}
				mustApply(t, s, start, again(start))
				refused(t, s, start, again(start), apikey.ErrNameTaken)
			})
		}
	}
}

func TestRotate_maxActive(t *testing.T) {
	s := openNew(t)
	create := func(name string, most int) apikey.Create {
		return apikey.Create{Key: newKey("acme", name, start), MaxActive: most}
	}
	a := mustApply(t, s, start, create("First", 2)).Key
	mustApply(t, s, start, create("Second", 2))
	refused(t, s, start, create("Third", 2), apikey.ErrTooManyKeys)
	named := rotation(a, start)
	named.Replacement.Name = "First II"
	b := mustApply(t, s, start, named).Key // at the limit
	refused(t, s, start, create("Third", 2), apikey.ErrTooManyKeys)
	mustApply(t, s, start, create("Third", 3))
	mustRevoke(t, s, a, start) // half of a pair frees nothing
	refused(t, s, start, create("Fourth", 3), apikey.ErrTooManyKeys)
	c := mustRotate(t, s, b, start) // of the same name
	refused(t, s, start, create("Fourth", 3), apikey.ErrTooManyKeys)
	mustRevoke(t, s, c, start) // the other half frees nothing either
	refused(t, s, start, create("Fourth", 3), apikey.ErrTooManyKeys)
	mustRevoke(t, s, b, start)
	mustApply(t, s, start, create("Fourth", 3))
}

// Keys that were rotated keep working for a while, but no more than two of them: they are
// not counted against what a workspace may have.
func TestRotate_overlap(t *testing.T) {
	s := openNew(t)
	first := mustCreate(t, s, "acme", "Zapier", start)
	second := mustRotate(t, s, first, start)
	third := mustRotate(t, s, second, start)
	refused(t, s, start, rotation(third, start), apikey.ErrTooManyKeys)

	mustApply(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: first.ID})
	fourth := mustRotate(t, s, third, start)
	equal(t, "replaces", fourth.Replaces, third.ID)
}
