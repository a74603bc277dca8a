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
