package store

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func renaming(key apikey.Key, name string) apikey.Update {
	return apikey.Update{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Name: &name}
}

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

func TestUpdate(t *testing.T) {
	s := openNew(t)
	at := start.Add(time.Hour)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for _, step := range []struct {
		title       string
		name, owner *string
		details     map[string]any
	}{
		{"the name", new("Make"), nil, map[string]any{"name": "Make", "name_before": "Zapier"}},
		{"its case alone", new("MAKE"), nil, map[string]any{"name": "MAKE", "name_before": "Make"}},
		{"the owner", nil, new("Kim"), map[string]any{"owner": "Kim", "owner_before": "Ops"}},
		{"no owner", nil, new(""), map[string]any{"owner": "", "owner_before": "Kim"}},
		{"both", new("Zapier"), new("Ops"), map[string]any{"name": "Zapier", "name_before": "MAKE", "owner": "Ops", "owner_before": ""}},
		{"one of two", new("Zapier"), new("Kim"), map[string]any{"owner": "Kim", "owner_before": "Ops"}},
		{"what it is already", new("Zapier"), new("Kim"), nil},
		{"nothing", nil, nil, nil},
	} {
		t.Run(step.title, func(t *testing.T) {
			before := len(allEvents(t, s, ""))
			outcome := mustApply(t, s, at, apikey.Update{WorkspaceID: "acme", KeyID: key.ID, Name: step.name, Owner: step.owner})
			if step.name != nil {
				key.Name = *step.name
			}
			if step.owner != nil {
				key.Owner = *step.owner
			}
			equal(t, "the key", lookup(t, s, key.Digest), key)
			if step.details == nil {
				equal(t, "outcome", bare(outcome), apikey.Outcome{Key: key, Unchanged: true})
				equal(t, "events", len(allEvents(t, s, "")), before)
				return
			}
			equal(t, "outcome", bare(outcome), apikey.Outcome{Key: key, Stale: []apikey.Digest{key.Digest}})
			event := allEvents(t, s, "acme")[0]
			equal(t, "details", event.Details, step.details)
			equal(t, "event", [2]string{string(event.Operation), event.KeyID}, [2]string{"update", key.ID})
		})
	}
}

func TestUpdate_movesTheName(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustCreate(t, s, "acme", "Make", start)
	refused(t, s, start, renaming(key, "MAKE"), apikey.ErrNameTaken)
	mustApply(t, s, start, renaming(key, "Billing"))
	refused(t, s, start, apikey.Create{Key: newKey("acme", "billing", start)}, apikey.ErrNameTaken)
	mustCreate(t, s, "acme", "zapier", start)
	refused(t, s, start, renaming(key, "Zapier"), apikey.ErrNameTaken)
}

func TestUpdate_refused(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	refused(t, s, key.ExpiresAt, renaming(key, "Make"), apikey.ErrNotActive)
	foreign := renaming(key, "Make")
	foreign.WorkspaceID = "other"
	refused(t, s, start, foreign, apikey.ErrNotFound)
	mustRevoke(t, s, key, start)
	refused(t, s, start, renaming(key, "Make"), apikey.ErrNotActive)
	refused(t, s, start, renaming(key, "Zapier"), apikey.ErrNotActive)
	equal(t, "what was wanted", allEvents(t, s, "acme")[0].Details, map[string]any{"refused": "not_active", "name": "Zapier"})
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

func TestRevokeAll(t *testing.T) {
	s := openNew(t)
	all := apikey.RevokeAll{WorkspaceID: "acme", Reason: "left"}
	equal(t, "without keys", mustApply(t, s, start, all).Unchanged, true)
	var ended []apikey.Digest
	ids := []any{}
	for i := range 3 {
		key := mustCreate(t, s, "acme", fmt.Sprintf("Key %d", i), start)
		ended, ids = append(ended, key.Digest), append(ids, key.ID)
	}
	short := newKey("acme", "Expired", start)
	short.ExpiresAt = start.Add(time.Second)
	mustApply(t, s, start, apikey.Create{Key: short})
	revoked := mustRevoke(t, s, mustCreate(t, s, "acme", "Revoked", start), start).Key
	other := mustCreate(t, s, "acme2", "Other", start)
	before := len(allEvents(t, s, "acme"))

	at := start.Add(time.Minute)
	outcome := mustApply(t, s, at, all)
	equal(t, "outcome", bare(outcome), apikey.Outcome{Revoked: 3, Stale: ended, Ended: ended})
	equal(t, "counts", counts(t, s, "acme", at), [3]int{0, 1, 4})
	for _, digest := range ended {
		got := lookup(t, s, digest)
		equal(t, "revoked", []any{got.RevokedAt, got.RevokedBy, got.RevokeReason}, []any{at, "tester", "left"})
	}
	equal(t, "the one revoked before", lookup(t, s, revoked.Digest), revoked)
	equal(t, "another workspace's", lookup(t, s, other.Digest), other)
	equal(t, "events", len(allEvents(t, s, "acme")), before+1)
	event := allEvents(t, s, "acme")[0]
	equal(t, "event", []any{event.Operation, event.KeyID, event.Details}, []any{apikey.OpRevokeAll, "", map[string]any{
		"reason": "left", "revoked": float64(3), "key_ids": ids,
	}})

	equal(t, "again", bare(mustApply(t, s, at, all)), apikey.Outcome{Unchanged: true})
	equal(t, "events of doing it again", len(allEvents(t, s, "acme")), before+1)
}

// More keys than a transaction holds are revoked all the same, however long
// their texts are.
func TestRevokeAll_veryMany(t *testing.T) {
	const many = 2*maxRevoked + 1
	s := openNew(t)
	keys := make([]apikey.Key, many)
	for i := range keys {
		keys[i] = newKey("acme", fmt.Sprintf("%080d", i), start)
		keys[i].Owner, keys[i].CreatedBy = strings.Repeat("\U0001F511", 80), strings.Repeat("x", 255)
	}
	putKeys(t, s, keys)
	told := 0
	s.onChange = func(outcome apikey.Outcome) { told += len(outcome.Ended) }
	outcome := mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "acme", Reason: strings.Repeat("\U0001F511", 500)})
	equal(t, "revoked, ended, stale, told", []int{outcome.Revoked, len(outcome.Ended), len(outcome.Stale), told}, []int{many, many, many, many})
	equal(t, "counts", counts(t, s, "acme", start), [3]int{0, 0, many})
	events := allEvents(t, s, "acme")
	sum := 0.0
	for _, event := range events {
		sum += event.Details["revoked"].(float64)
	}
	equal(t, "events, and keys in them", []float64{float64(len(events)), sum}, []float64{3, many})
}

func TestLookup_audited(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	for range 2 {
		outcome := mustApply(t, s, start, apikey.Lookup{Digest: key.Digest})
		equal(t, "outcome", bare(outcome), apikey.Outcome{Key: key})
		event := allEvents(t, s, "acme")[0]
		equal(t, "event", event, outcome.Event)
		equal(t, "its subject", []any{event.Operation, event.KeyID, event.Actor}, []any{apikey.OpLookup, key.ID, "tester"})
	}
	equal(t, "events", len(allEvents(t, s, "acme")), 3)
	mustRevoke(t, s, key, start)
	revoked := mustApply(t, s, start, apikey.Lookup{Digest: key.Digest}).Key
	equal(t, "a revoked key", revoked.Status(start), apikey.Revoked)

	refused(t, s, start, apikey.Lookup{Digest: digestOf("unknown")}, apikey.ErrNotFound)
	event := allEvents(t, s, "")[0]
	equal(t, "event of an unknown token", []any{event.WorkspaceID, event.KeyID, event.Details}, []any{"", "", map[string]any{"refused": "not_found"}})
}

// What a caller writes in the place of an id may be a token. It is not kept.
func TestRefusals_keepNoToken(t *testing.T) {
	s := openNew(t)
	token := string(apikey.NewToken("agk").Reveal())
	refused(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: token}, apikey.ErrNotFound)
	refused(t, s, start, apikey.Update{WorkspaceID: token + token, KeyID: "key_" + token}, apikey.ErrNotFound)
	refused(t, s, start, apikey.Expose{WorkspaceID: strings.Repeat("a", 300), KeyID: strings.Repeat("x", 70_000)}, apikey.ErrNotFound)
	events := allEvents(t, s, "")
	equal(t, "events", len(events), 3)
	for _, event := range events {
		equal(t, "key id", event.KeyID, "")
		if strings.Contains(fmt.Sprintf("%+v", event), token) {
			t.Errorf("the event holds a token: %+v", event)
		}
	}
	equal(t, "events of the workspace", len(allEvents(t, s, "acme")), 1)
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
