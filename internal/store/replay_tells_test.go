package store

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// heard is what a store has reported of one change.
type heard struct {
	stale, ended []string
	workspaces   []string
	events       []string
}

func (h *heard) hear(outcome apikey.Outcome) {
	for _, digest := range outcome.Stale {
		h.stale = append(h.stale, feedID(digest))
	}
	for _, digest := range outcome.Ended {
		h.ended = append(h.ended, feedID(digest))
	}
	if ws := outcome.Workspace; ws.ID != "" {
		h.workspaces = append(h.workspaces, fmt.Sprint(ws.ID, " suspended: ", ws.Suspended()))
	}
	if outcome.Event.ID != "" {
		h.events = append(h.events, string(outcome.Event.Operation))
	}
}

// once sorts what was heard, and keeps once what was heard several times: that does no
// harm, except with events.
func (h *heard) once() heard {
	for _, list := range []*[]string{&h.stale, &h.ended, &h.workspaces} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return *h
}

// Every replica invalidates what a store of its own does, and the one that was asked logs
// the event.
func TestReplay_tells(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	plainHeard, fleetHeard := &heard{}, []*heard{{}, {}}
	plain := open(t, filepath.Join(t.TempDir(), "keys"), func(o apikey.Outcome) { plainHeard.hear(o) })
	log := newFleet(t, t.TempDir(), 2, func(i int, o apikey.Outcome) { fleetHeard[i].hear(o) })
	for _, s := range log.replicas {
		t.Cleanup(func() { closeStore(t, s) })
	}
	old := newKey("acme", "Old", now.Add(-2*life))
	key, other, scheduled := newKey("acme", "Zapier", now), newKey("acme", "Billing", now), newKey("acme", "CRM", now)
	at := func(do apikey.Rotate, end time.Time) apikey.Rotate { do.RevokeOldAt = end; return do }
	for _, step := range []struct {
		name string
		do   apikey.Action
	}{
		{"create", apikey.Create{Key: key}},
		{"create another", apikey.Create{Key: other}},
		{"create a third", apikey.Create{Key: scheduled}},
		{"create refused", apikey.Create{Key: newKey("acme", "zapier", now)}},
		{"rename", renaming(key, "Make")},
		{"rename to the same", renaming(key, "Make")},
		{"rotate", rotation(key, now)},
		{"rotate, with an end", at(rotation(scheduled, now), now.Add(time.Hour))},
		{"rotate, and revoke the old", at(rotation(other, now), now)},
		{"revoke", apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}},
		{"revoke again", apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}},
		{"expose", apikey.Expose{WorkspaceID: "acme", KeyID: scheduled.ID}},
		{"leak", apikey.Leak{WorkspaceID: "acme", KeyID: scheduled.ID, Source: "github"}},
		{"look up", apikey.Lookup{Digest: key.Digest}},
		{"suspend", apikey.Suspend{WorkspaceID: "acme", Own: true}},
		{"suspend by an operator", apikey.Suspend{WorkspaceID: "acme"}},
		{"resume refused", apikey.Resume{WorkspaceID: "acme", Own: true}},
		{"resume", apikey.Resume{WorkspaceID: "acme"}},
		{"open a feed", apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("feed")}},
		{"close a feed", apikey.CloseFeed{WorkspaceID: "acme"}},
		{"create one that has expired", apikey.Create{Key: old}},
		{"revoke all", apikey.RevokeAll{WorkspaceID: "acme"}},
		{"trust the clock", apikey.TrustClock{Clock: apikey.ClockReading{Machine: now, Confirmed: now.Add(-day), Judged: now}}},
	} {
		*plainHeard, *fleetHeard[0], *fleetHeard[1] = heard{}, heard{}, heard{}
		change := changeAt(now, step.do)
		if change.At = now; step.name == "create one that has expired" {
			change.At = old.CreatedAt
		}
		_, wantErr := plain.Apply(t.Context(), change)
		if _, err := log.replicas[0].Apply(t.Context(), change); fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%s: got error %v, want %v", step.name, err, wantErr)
		}
		want := plainHeard.once()
		if step.name == "create one that has expired" {
			want.ended = want.stale // which is true, and does no harm
		}
		equal(t, step.name+": the replica that was asked", fleetHeard[0].once(), want)
		want.events = nil
		equal(t, step.name+": another replica", fleetHeard[1].once(), want)
	}

	for _, s := range append(log.replicas, plain) {
		noteConfirmed(t, s, now)
		*plainHeard, *fleetHeard[0], *fleetHeard[1] = heard{}, heard{}, heard{}
	}
	mustNote(t, log.replicas[0], map[string]time.Time{old.ID: now})
	for _, s := range []*Store{plain, log.replicas[1]} {
		equal(t, "forgotten", mustForgetKeys(t, s, now, now), 1)
	}
	want := plainHeard.once()
	equal(t, "a deleted key", want.stale, []string{feedID(old.Digest)})
	equal(t, "a deleted key: a replica", fleetHeard[0].once(), want)
	equal(t, "a deleted key: the replica that was asked", fleetHeard[1].once(), want)
	left := contents(t, log.replicas[0])
	equal(t, "the notes of its uses", left[string(lastUsedKey(old.ID))]+left[string(firstUsedKey(old.ID))], "")
}

// The clock of another gateway may be ahead: events of later changes sort after its.
func TestReplay_laterEvent(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	id := apikey.NewEventID(start)
	id = id[:len(id)-4] + "ZZZZ"
	list := []apikey.Record{recordOf(t, apikey.RecordEvent, id, eventRecord{ID: id, At: toMillis(start)})}
	e := log.append(list, "", false)
	if err := s.Replay(t.Context(), e.from, e.to, list); err != nil {
		t.Fatal(err)
	}
	if later := apikey.NewEventID(start); later <= id {
		t.Errorf("got the id %s, want a later one than %s", later, id)
	}
}
