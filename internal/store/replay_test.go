package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// recordOf returns a record with a value that is encoded like those of the store.
func recordOf(t testing.TB, kind apikey.RecordKind, id string, value any) apikey.Record {
	t.Helper()
	encoded, err := encode(value)
	if err != nil {
		t.Fatal(err)
	}
	return apikey.Record{Kind: kind, ID: id, Value: encoded}
}

func keyRecordOf(t testing.TB, key apikey.Key) apikey.Record {
	t.Helper()
	return recordOf(t, apikey.RecordKey, key.ID, toRecord(&key))
}

func feedID(digest apikey.Digest) string { return hex.EncodeToString(digest[:]) }

func openFeedRecord(t testing.TB, id string, ws string, digest apikey.Digest) apikey.Record {
	t.Helper()
	return recordOf(t, apikey.RecordFeed, id, feedRecord{WorkspaceID: ws, Digest: digest[:], CreatedAt: toMillis(start)})
}

func endedFeedRecord(t testing.TB, digest apikey.Digest, at time.Time) apikey.Record {
	t.Helper()
	return recordOf(t, apikey.RecordFeed, feedID(digest), feedState{EndedAt: toMillis(at)})
}

// Changes that do not follow the replica's position are not applied.
func TestReplay_gap(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	key := mustCreate(t, s, "acme", "Zapier", start)
	key.Name = "Billing"
	list := []apikey.Record{keyRecordOf(t, key)}
	before := contents(t, s)
	for name, move := range map[string]func(*apikey.Position){
		"a later position":   func(at *apikey.Position) { at.Seq++ },
		"an earlier one":     func(at *apikey.Position) { at.Seq-- },
		"of another history": func(at *apikey.Position) { at.Sum = []byte("another") },
		"of another fleet":   func(at *apikey.Position) { at.Fleet = "another" },
	} {
		from := log.head()
		move(&from)
		if err := s.Replay(t.Context(), from, log.after(list, "", false), list); !errors.Is(err, ErrGap) {
			t.Errorf("from %s: got error %v, want ErrGap", name, err)
		}
		equal(t, "the replica", contents(t, s), before)
	}
	if err := s.Replay(t.Context(), log.head(), log.after(list, "", false), list); err != nil {
		t.Errorf("from its position: got error %v, want none", err)
	}
	equal(t, "name", lookup(t, s, key.Digest).Name, "Billing")
}

// What no plan can have written changes nothing, nor does what comes with it.
func TestReplay_malformed(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	key, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	ended, feed := digestOf("ended"), digestOf("feed")
	for _, digest := range []apikey.Digest{ended, feed} { // the second ends the first
		mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: digest})
	}
	changed := func(change func(*apikey.Key)) apikey.Record {
		k := key
		change(&k)
		r := keyRecordOf(t, k)
		r.ID = key.ID
		return r
	}
	event := apikey.NewEventID(start)
	before, trail := contents(t, s), allEvents(t, s, "")
	for _, test := range []struct {
		name   string
		record apikey.Record
		want   string
	}{
		{"of an unknown kind", apikey.Record{Kind: 'x', ID: "x", Value: []byte("{}")}, "of an unknown kind"},
		{"a key with another id inside", changed(func(k *apikey.Key) { k.ID = other.ID }), "is of another key"},
		{"a key with another's token", changed(func(k *apikey.Key) { k.Digest = other.Digest }), "has had another token"},
		{"a new key with another's token", keyRecordOf(t, func() apikey.Key { k := newKey("acme", "New", start); k.Digest = key.Digest; return k }()), "another key has its token"},
		{"a key with another token", changed(func(k *apikey.Key) { k.Digest = digestOf("another") }), "has had another token"},
		{"a key in another workspace", changed(func(k *apikey.Key) { k.WorkspaceID = "globex" }), "has had another token or workspace"},
		{"a key without an expiry", changed(func(k *apikey.Key) { k.ExpiresAt = time.Time{} }), "is damaged"},
		{"a key that is not JSON", apikey.Record{Kind: apikey.RecordKey, ID: key.ID, Value: []byte("{")}, "decoding"},
		{"a key that is empty", apikey.Record{Kind: apikey.RecordKey, ID: key.ID, Value: []byte{}}, "decoding"},
		{"a suspension without a time", recordOf(t, apikey.RecordSuspension, "acme", workspaceRecord{Reason: "unpaid"}), "it has no time"},
		{"a suspension that is not JSON", apikey.Record{Kind: apikey.RecordSuspension, ID: "acme", Value: []byte("unpaid")}, "decoding"},
		{"a suspension of no workspace", recordOf(t, apikey.RecordSuspension, strings.Repeat("a", 300), workspaceRecord{SuspendedAt: 1}), "invalid workspace id"},
		{"a feed that has ended", openFeedRecord(t, feedID(ended), "acme", ended), "of another feed, or opens one that has ended"},
		{"a feed of another workspace", openFeedRecord(t, feedID(feed), "globex", feed), "of another feed"},
		{"a feed with another digest inside", openFeedRecord(t, feedID(digestOf("new")), "acme", feed), "of another feed"},
		{"a feed with half a digest", openFeedRecord(t, feedID(feed)[:32], "acme", feed), "invalid digest"},
		{"a feed that is not JSON", apikey.Record{Kind: apikey.RecordFeed, ID: feedID(feed), Value: []byte("x")}, "decoding"},
		{"what was forgotten, with another id", recordOf(t, apikey.RecordForgotten, "x", forgotten{Feeds: 1}), "invalid id"},
		{"what was forgotten, not JSON", apikey.Record{Kind: apikey.RecordForgotten, ID: apikey.ForgottenID, Value: []byte("x")}, "decoding"},
		{"signing keys with another id", apikey.Record{Kind: apikey.RecordSigningKeys, ID: "x", Value: []byte("{}")}, "invalid id"},
		{"an event with another id inside", recordOf(t, apikey.RecordEvent, event, eventRecord{ID: trail[0].ID}), "of another event"},
		{"an event without a valid id", recordOf(t, apikey.RecordEvent, "evt_x", eventRecord{ID: "evt_x"}), "of another event"},
		{"an event that is not JSON", apikey.Record{Kind: apikey.RecordEvent, ID: event, Value: []byte("x")}, "decoding"},
	} {
		list := []apikey.Record{recordOf(t, apikey.RecordSuspension, "globex", workspaceRecord{SuspendedAt: toMillis(start)}), test.record}
		for range 2 { // in whatever order
			err := s.Replay(t.Context(), log.head(), log.after(list, "", false), list)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: got error %v, want %q", test.name, err, test.want)
			}
			equal(t, test.name+": the replica", contents(t, s), before)
			equal(t, test.name+": the audit trail", allEvents(t, s, ""), trail)
			slices.Reverse(list)
		}
	}
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "globex"}) // it continues
}

// What is to be deleted, and is not there, is passed over.
func TestReplay_deletesUnknown(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	list := []apikey.Record{
		{Kind: apikey.RecordKey, ID: apikey.NewKeyID(start)}, {Kind: apikey.RecordSuspension, ID: "acme"},
		{Kind: apikey.RecordFeed, ID: feedID(digestOf("feed"))}, {Kind: apikey.RecordEvent, ID: apikey.NewEventID(start)},
	}
	e := log.append(list, "", false)
	if err := s.Replay(t.Context(), e.from, e.to, list); err != nil {
		t.Fatalf("Replay: got error %v, want none", err)
	}
	equal(t, "records", len(recordsOf(t, s)), 0)
	soundRecords(t, s)
}

// Records that a newer version wrote stay as they are, with what this one does not know.
func TestReplay_unknownFields(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	key, id := newKey("acme", "Zapier", start), apikey.NewEventID(start)
	list := []apikey.Record{
		keyRecordOf(t, key), recordOf(t, apikey.RecordSuspension, "acme", workspaceRecord{SuspendedAt: toMillis(start)}),
		openFeedRecord(t, feedID(digestOf("open")), "acme", digestOf("open")), endedFeedRecord(t, digestOf("ended"), start),
		recordOf(t, apikey.RecordForgotten, apikey.ForgottenID, forgotten{Feeds: 1}),
		recordOf(t, apikey.RecordSigningKeys, apikey.SigningKeysID, map[string]any{"keys": nil}),
		recordOf(t, apikey.RecordEvent, id, eventRecord{ID: id, At: toMillis(start)}),
	}
	for i := range list {
		list[i].Value = append([]byte(`{"new": [1],`), list[i].Value[1:]...)
	}
	e := log.append(list, "", false)
	if err := s.Replay(t.Context(), e.from, e.to, list); err != nil {
		t.Fatalf("Replay: got error %v, want none", err)
	}
	sameRecords(t, "the replica", recordsOf(t, s), list)
}

// That a gateway has made a change on other records is logged, and changes nothing else.
func TestReplay_otherRecords(t *testing.T) {
	core, logs := observer.New(zap.ErrorLevel)
	s, err := OpenReplica(filepath.Join(t.TempDir(), "keys"), fleetPrefix, zap.New(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	log := openFleet(t, 1)
	mustReload(t, s, nil, log.head())
	key := newKey("acme", "Zapier", start)
	e := log.append([]apikey.Record{keyRecordOf(t, key)}, "", false)
	wrong := e.to
	wrong.Set = e.from.Set
	if err := s.Replay(t.Context(), e.from, wrong, e.records); err != nil {
		t.Fatalf("Replay: got error %v, want none", err)
	}
	equal(t, "logged", logs.FilterMessageSnippet("the records of this gateway differ").Len(), 1)
	equal(t, "the key", lookup(t, s, key.Digest), key)
	next := log.append([]apikey.Record{keyRecordOf(t, newKey("acme", "Billing", start))}, "", false)
	if err := s.Replay(t.Context(), wrong, next.to, next.records); err != nil {
		t.Fatalf("Replay: got error %v, want none", err)
	}
	equal(t, "logged in the end", logs.Len(), 1)
}

// A calendar feed that replaces another one does so in whatever order their records come.
func TestReplay_feedReplaced(t *testing.T) {
	old, feed := digestOf("old"), digestOf("new")
	for _, test := range []struct {
		name string
		list []apikey.Record
	}{
		{"ended first", []apikey.Record{endedFeedRecord(t, old, start), openFeedRecord(t, feedID(feed), "acme", feed)}},
		{"opened first", []apikey.Record{openFeedRecord(t, feedID(feed), "acme", feed), endedFeedRecord(t, old, start)}},
		{"ended and deleted, and opened", []apikey.Record{{Kind: apikey.RecordFeed, ID: feedID(old)}, openFeedRecord(t, feedID(feed), "acme", feed)}},
		{"opened, ended and deleted", []apikey.Record{openFeedRecord(t, feedID(feed), "acme", feed), {Kind: apikey.RecordFeed, ID: feedID(old)}}},
		{"ended and deleted", []apikey.Record{{Kind: apikey.RecordFeed, ID: feedID(old)}}},
		{"ended at another time", []apikey.Record{endedFeedRecord(t, digestOf("ended"), start.Add(time.Hour))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			log := openFleet(t, 1)
			s := log.replicas[0]
			mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("ended")})
			mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: old})
			e := log.append(test.list, "", false)
			if err := s.Replay(t.Context(), e.from, e.to, test.list); err != nil {
				t.Fatalf("Replay: got error %v, want none", err)
			}
			soundRecords(t, s)
			all := recordsOf(t, s)
			for _, r := range test.list {
				i := slices.IndexFunc(all, func(other apikey.Record) bool { return other.Kind == r.Kind && other.ID == r.ID })
				switch {
				case r.Value == nil && i >= 0:
					t.Errorf("the feed %s is there, want it deleted", r.ID)
				case r.Value != nil && (i < 0 || string(all[i].Value) != string(r.Value)):
					t.Errorf("the feed %s is not there as it was sent", r.ID)
				}
			}
		})
	}
}

// A clock that an operator trusts is that of the gateway that was asked.
func TestReplay_trustedClock(t *testing.T) {
	var trusted [2]time.Time
	log := newFleet(t, t.TempDir(), 2, func(i int, o apikey.Outcome) {
		if !o.Trusted.IsZero() {
			trusted[i] = o.Trusted
		}
	})
	for _, s := range log.replicas {
		t.Cleanup(func() { closeStore(t, s) })
		noteConfirmed(t, s, start.Add(day))
	}
	trust(t, log.replicas[0], start.Add(day), start)
	equal(t, "trusted", trusted, [2]time.Time{start, {}})
	for i, want := range []time.Time{start, start.Add(day)} {
		note, err := log.replicas[i].ClockNote()
		equal(t, fmt.Sprint("the note of replica ", i), []any{note.Confirmed, err}, []any{want, nil})
	}
}
