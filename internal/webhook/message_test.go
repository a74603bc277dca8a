package webhook_test

import (
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

var at = time.Date(2026, 11, 30, 12, 0, 0, 5e6, time.UTC)

func TestAbout_showsTheKeyAsTheAPIDoes(t *testing.T) {
	key := &apikey.Key{
		ID: "key_01JD000000000000000000000A", WorkspaceID: "acme", Name: "Zapier <production>", Owner: "Ops", Preset: apikey.ReadOnly,
		TokenHint: "agk_…x7Qz", CreatedAt: at.Add(-time.Hour), CreatedBy: "anna", ExpiresAt: at.Add(48 * time.Hour), LastUsedAt: at.Add(-time.Minute),
	}
	got, err := webhook.About(webhook.KeyExpiring, key, "3d", at)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"key.expiring","timestamp":"2026-11-30T12:00:00.005Z","data":{"workspace_id":"acme","key":{` +
		`"id":"key_01JD000000000000000000000A","workspace_id":"acme","name":"Zapier <production>","owner":"Ops",` +
		`"preset":"read_only","abilities":["read"],"token_hint":"agk_…x7Qz","status":"active",` +
		`"created_at":"2026-11-30T11:00:00.005Z","created_by":"anna","expires_at":"2026-12-02T12:00:00.005Z","last_used_at":"2026-11-30T11:59:00.005Z",` +
		`"revokes_at":null,"revoked_at":null,"revoked_by":null,"revoke_reason":null,"replaces":null,"replaced_by":null,"exposed_at":null},"within":"3d"}}`
	if string(got) != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestAboutWorkspace_hasNoKey(t *testing.T) {
	got, err := webhook.AboutWorkspace(webhook.WorkspaceSuspended, "acme", at)
	const want = `{"type":"workspace.suspended","timestamp":"2026-11-30T12:00:00.005Z","data":{"workspace_id":"acme"}}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}

func TestMessage_survivesItsEncoding(t *testing.T) {
	m := webhook.Message{
		ID: webhook.NewID(7, 0), Receiver: webhook.ReceiverID("https://example.com/hook"), Workspace: "acme", Subject: "key_01JD000000000000000000000A",
		Type: webhook.KeyRevoked, At: at, Body: []byte(`{"type": "key.revoked", "n": 1e0}`),
	}
	value, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got := webhook.Message{ID: m.ID, Receiver: m.Receiver, Workspace: m.Workspace}
	if err := got.Decode(value); err != nil {
		t.Fatal(err)
	}
	again, err := got.Encode()
	if err != nil || string(again) != string(value) || got.Subject != m.Subject || got.Type != m.Type || !got.At.Equal(m.At) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, m)
	}
}

func TestNewID_sortsByChangeAndPlace(t *testing.T) {
	var ids []string
	for _, change := range []uint64{0, 1, 9, 10, 255, 256, 1 << 40} {
		for _, n := range []int{0, 1, 16, 300} {
			ids = append(ids, webhook.NewID(change, n))
		}
	}
	if !slices.IsSorted(ids) {
		t.Errorf("they are not sorted: %q", ids)
	}
	for _, id := range ids {
		if !webhook.ValidID(id) {
			t.Errorf("%q is not valid", id)
		}
	}
}

func TestReceiver_takesOnlyItsTypes(t *testing.T) {
	r := webhook.Receiver{Types: []webhook.Type{webhook.KeyRevoked}}
	for _, typ := range webhook.Types {
		if got, want := r.Takes(typ), typ == webhook.KeyRevoked; got != want {
			t.Errorf("%s: got %t, want %t", typ, got, want)
		}
	}
}
