package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestKeys_newestFirstInPages(t *testing.T) {
	s := openNew(t)
	want := []string{}
	for i := range 7 {
		name := fmt.Sprintf("Key %d", i)
		mustCreate(t, s, "acme", name, start.Add(time.Duration(i)*time.Second))
		want = slices.Insert(want, 0, name)
	}
	for size := 1; size <= 8; size++ {
		equal(t, fmt.Sprintf("pages of %d", size), list(t, s, "acme", apikey.KeyFilter{}, size, start), want)
	}
	equal(t, "a workspace without keys", list(t, s, "nobody", apikey.KeyFilter{}, 3, start), []string{})
}

// A page is followed by another only if there is something on it.
func TestKeys_noEmptyLastPage(t *testing.T) {
	s := openNew(t)
	for i := range 4 {
		mustCreate(t, s, "acme", fmt.Sprintf("Key %d", i), start)
	}
	for limit, more := range map[int]bool{1: true, 3: true, 4: false, 5: false} {
		_, next, err := s.Keys(t.Context(), "acme", apikey.KeyFilter{}, apikey.Page{Limit: limit}, start)
		if err != nil || (next != "") != more {
			t.Errorf("a page of %d of 4 keys: got next %q and error %v, want a next page: %t", limit, next, err, more)
		}
	}
}

func TestKeys_filter(t *testing.T) {
	s := openNew(t)
	now := start.Add(10 * day)
	make := func(name, owner string, change func(*apikey.Key)) apikey.Key {
		key := newKey("acme", name, start)
		key.Owner = owner
		change(&key)
		return mustApply(t, s, start, apikey.Create{Key: key}).Key
	}
	plain := func(*apikey.Key) {}
	make("Zapier", "Ops", plain)
	make("Expired now", "Ops", func(k *apikey.Key) { k.ExpiresAt = now })
	make("Expires in a moment", "Ops", func(k *apikey.Key) { k.ExpiresAt = now.Add(time.Millisecond) })
	make("Revoked by schedule", "Kim", func(k *apikey.Key) { k.RevokesAt = now })
	mustRevoke(t, s, make("Revoked", "Straße", plain), start)
	hinted := make("Hinted", "Kim", plain)

	for _, test := range []struct {
		title  string
		filter apikey.KeyFilter
		want   []string
	}{
		{"all", apikey.KeyFilter{}, []string{"Hinted", "Revoked", "Revoked by schedule", "Expires in a moment", "Expired now", "Zapier"}},
		{"active", apikey.KeyFilter{Status: apikey.Active}, []string{"Hinted", "Expires in a moment", "Zapier"}},
		{"expired", apikey.KeyFilter{Status: apikey.Expired}, []string{"Expired now"}},
		{"revoked", apikey.KeyFilter{Status: apikey.Revoked}, []string{"Revoked", "Revoked by schedule"}},
		{"no such status", apikey.KeyFilter{Status: "asleep"}, []string{}},
		{"part of a name", apikey.KeyFilter{Query: "XPIRE"}, []string{"Expires in a moment", "Expired now"}},
		{"owner", apikey.KeyFilter{Query: "kim"}, []string{"Hinted", "Revoked by schedule"}},
		{"owner, folded", apikey.KeyFilter{Query: "STRASSE"}, []string{"Revoked"}},
		{"id", apikey.KeyFilter{Query: strings.ToLower(hinted.ID)}, []string{"Hinted"}},
		{"hint", apikey.KeyFilter{Query: hinted.TokenHint}, []string{"Hinted"}},
		{"the dots of hints", apikey.KeyFilter{Query: "."}, []string{}},
		{"the dots of hints, as one", apikey.KeyFilter{Query: "…"}, []string{}},
		{"both", apikey.KeyFilter{Status: apikey.Revoked, Query: "kim"}, []string{"Revoked by schedule"}},
		{"no pattern", apikey.KeyFilter{Query: ".*"}, []string{}},
		{"no workspace", apikey.KeyFilter{Query: "acme"}, []string{}},
	} {
		t.Run(test.title, func(t *testing.T) {
			for _, size := range []int{1, 2, 10} {
				equal(t, fmt.Sprintf("pages of %d", size), list(t, s, "acme", test.filter, size, now), test.want)
			}
		})
	}
}

// A reader turns the page after the last key on it has been revoked: what
// follows is still what followed.
func TestKeys_cursorNoLongerInFilter(t *testing.T) {
	s := openNew(t)
	for _, name := range []string{"First", "Second", "Third"} {
		mustCreate(t, s, "acme", name, start)
	}
	active := apikey.KeyFilter{Status: apikey.Active}
	keys, next, err := s.Keys(t.Context(), "acme", active, apikey.Page{Limit: 1}, start)
	if err != nil || len(keys) != 1 || next != keys[0].ID {
		t.Fatalf("first page: got %d keys, next %q, error %v; want one key, and the next page after it", len(keys), next, err)
	}
	mustRevoke(t, s, *keys[0], start)
	keys, _, err = s.Keys(t.Context(), "acme", active, apikey.Page{Limit: 5, After: next}, start)
	if err != nil || len(keys) != 2 || keys[0].Name != "Second" {
		t.Errorf("second page: got %d keys, error %v; want Second and First", len(keys), err)
	}
}

func TestKeys_foreignCursor(t *testing.T) {
	s := openNew(t)
	mine := mustCreate(t, s, "a", "Mine", start)
	other := mustCreate(t, s, "ab", "Other", start)
	event, otherEvent := allEvents(t, s, "a")[0], allEvents(t, s, "ab")[0]
	for _, test := range []struct {
		title string
		after string
		// Whether it is the cursor of a key of "a", of an event of "a", of any event.
		key, event, any bool
	}{
		{"own key", mine.ID, true, false, false},
		{"own event", event.ID, false, true, true},
		{"another workspace's key", other.ID, false, false, false},
		{"another workspace's event", otherEvent.ID, false, false, true},
		{"a key never made", apikey.NewKeyID(start), false, false, false},
		{"the beginning of a key's id", mine.ID[:10], false, false, false},
		{"more than a key's id", mine.ID + "0", false, false, false},
		{"the rest of another workspace's index", "b" + other.ID, false, false, false},
		{"beyond all", "\xff", false, false, false},
		{"NUL", "\x00", false, false, false},
		{"longer than a key of Badger can be", strings.Repeat("x", 70_000), false, false, false},
	} {
		t.Run(test.title, func(t *testing.T) {
			page := apikey.Page{Limit: 10, After: test.after}
			check := func(what string, err error, valid bool) {
				t.Helper()
				if valid && err != nil || !valid && !errors.Is(err, apikey.ErrInvalidCursor) {
					t.Errorf("%s: got error %v, want it valid: %t", what, err, valid)
				}
			}
			keys, _, err := s.Keys(t.Context(), "a", apikey.KeyFilter{}, page, start)
			check("Keys", err, test.key)
			equal(t, "keys after it", len(keys), 0)
			_, _, err = s.Events(t.Context(), "a", page)
			check("Events of the workspace", err, test.event)
			_, _, err = s.Events(t.Context(), "", page)
			check("Events of all", err, test.any)
		})
	}
}

func TestEvents_newestFirstInPages(t *testing.T) {
	s := openNew(t)
	var all, acme []string
	for i := range 9 {
		ws := []string{"acme", "other", "acm"}[i%3]
		change := changeAt(start.Add(time.Duration(i)*time.Second), apikey.Create{Key: newKey(ws, fmt.Sprintf("Key %d", i), start)})
		if _, err := s.Apply(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		all = slices.Insert(all, 0, change.EventID)
		if ws == "acme" {
			acme = slices.Insert(acme, 0, change.EventID)
		}
	}
	for ws, want := range map[string][]string{"": all, "acme": acme, "nobody": nil} {
		for size := 1; size <= 10; size++ {
			var got []string
			for page := (apikey.Page{Limit: size}); ; {
				events, next, err := s.Events(t.Context(), ws, page)
				if err != nil {
					t.Fatalf("Events(%q, %+v): got error %v, want a page", ws, page, err)
				}
				for _, event := range events {
					got = append(got, event.ID)
				}
				if next == "" {
					break
				}
				page.After = next
			}
			equal(t, fmt.Sprintf("events of %q in pages of %d", ws, size), got, want)
		}
	}
}

func TestReads_cancelled(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Keys(ctx, "acme", apikey.KeyFilter{}, apikey.Page{Limit: 1}, start)
	isUnavailable(t, "Keys", err)
	_, _, err = s.Events(ctx, "acme", apikey.Page{Limit: 1})
	isUnavailable(t, "Events", err)
	_, err = s.CountKeys(ctx, "acme", start)
	isUnavailable(t, "CountKeys", err)
}

// Workspaces whose ids resemble each other have nothing in common.
func TestWorkspaces_neverMix(t *testing.T) {
	ids := []string{"a", "A", "ab", "aB", "a.", "a-b", "a_b", "abc", "1", strings.Repeat("a", 63), strings.Repeat("a", 64)}
	s := openNew(t)
	keys := map[string]apikey.Key{}
	for i, ws := range ids {
		keys[ws] = mustApply(t, s, start, apikey.Create{Key: newKey(ws, "The same name", start), MaxActive: 2}).Key
		for n := range i % 2 {
			mustApply(t, s, start, apikey.Create{Key: newKey(ws, fmt.Sprintf("Another %d", n), start), MaxActive: 2})
		}
	}
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "a"})
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "abc"})
	mustRevoke(t, s, keys["ab"], start)
	s = reopen(t, s)

	paused, err := s.SuspendedWorkspaces()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paused)
	equal(t, "suspended workspaces", paused, []string{"a", "abc"})
	for i, ws := range ids {
		t.Run(ws, func(t *testing.T) {
			names, events, count := []string{"The same name"}, 1, [3]int{1 + i%2, 0, 0}
			if i%2 == 1 {
				names, events = []string{"Another 0", "The same name"}, 2
			}
			switch ws {
			case "a", "abc":
				events++
			case "ab":
				events, count = events+1, [3]int{i % 2, 0, 1}
			}
			equal(t, "names", list(t, s, ws, apikey.KeyFilter{}, 1, start), names)
			equal(t, "counts", counts(t, s, ws, start), count)
			equal(t, "suspended", suspended(t, s, ws), ws == "a" || ws == "abc")
			trail := allEvents(t, s, ws)
			equal(t, "number of events", len(trail), events)
			for _, event := range trail {
				equal(t, "workspace of an event", event.WorkspaceID, ws)
			}
			for _, other := range ids {
				_, err := s.Key(t.Context(), ws, keys[other].ID)
				if other == ws && err != nil || other != ws && !errors.Is(err, apikey.ErrNotFound) {
					t.Errorf("the key of %q: got error %v, want it found: %t", other, err, other == ws)
				}
			}
		})
	}
}

// A record that does not hold together lets nobody in, and does not pass for a
// key that is not there either.
func TestReads_damagedRecord(t *testing.T) {
	edit := func(change func(map[string]any)) func([]byte) []byte {
		return func(value []byte) []byte {
			var record map[string]any
			if err := json.Unmarshal(value, &record); err != nil {
				panic(err)
			}
			change(record)
			edited, err := json.Marshal(record)
			if err != nil {
				panic(err)
			}
			return edited
		}
	}
	for _, test := range []struct {
		title  string
		damage func([]byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"cut off", func(value []byte) []byte { return value[:len(value)-1] }},
		{"null", func([]byte) []byte { return []byte("null") }},
		{"an empty object", func([]byte) []byte { return []byte("{}") }},
		{"a list", func([]byte) []byte { return []byte("[]") }},
		{"without a digest", edit(func(r map[string]any) { delete(r, "digest") })},
		{"with another key's digest", edit(func(r map[string]any) { d := digestOf("other"); r["digest"] = d[:] })},
		{"with a short digest", edit(func(r map[string]any) { r["digest"] = []byte("short") })},
		{"without an expiry", edit(func(r map[string]any) { delete(r, "expires_at") })},
		{"with a text for an expiry", edit(func(r map[string]any) { r["expires_at"] = "never" })},
		{"without a preset", edit(func(r map[string]any) { delete(r, "preset") })},
		{"with an unknown preset", edit(func(r map[string]any) { r["preset"] = "admin" })},
		{"without a workspace", edit(func(r map[string]any) { delete(r, "workspace_id") })},
		{"with an impossible workspace", edit(func(r map[string]any) { r["workspace_id"] = "../acme" })},
		{"without an id", edit(func(r map[string]any) { delete(r, "id") })},
		{"with another id", edit(func(r map[string]any) { r["id"] = apikey.NewKeyID(start) })},
	} {
		t.Run(test.title, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			record, err := json.Marshal(toRecord(&key))
			if err != nil {
				t.Fatal(err)
			}
			plant(t, s, recordKey(key.ID), test.damage(record))
			_, err = s.Lookup(key.Digest)
			isUnavailable(t, "Lookup", err)
			if test.title == "with another key's digest" {
				return // by its id it is a key like any other
			}
			_, err = s.Key(t.Context(), "acme", key.ID)
			isUnavailable(t, "Key", err)
			_, _, err = s.Keys(t.Context(), "acme", apikey.KeyFilter{}, apikey.Page{Limit: 1}, start)
			isUnavailable(t, "Keys", err)
			refused(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}, apikey.ErrStoreUnavailable)
			refused(t, s, start, apikey.Create{Key: newKey("acme", "zapier", start)}, apikey.ErrStoreUnavailable)
			mustCreate(t, s, "acme", "Another", start)
			mustCreate(t, s, "other", "Zapier", start)
		})
	}
}

func TestReads_missingRecord(t *testing.T) {
	s := openNew(t)
	digest := digestOf("token")
	plant(t, s, digestKey(digest), []byte("key_none"))
	_, err := s.Lookup(digest)
	isUnavailable(t, "Lookup", err)
}

// What went wrong is for the log; the layers above see a refusal without it.
func TestReads_failureNamesItsCause(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	plant(t, s, recordKey(key.ID), []byte("{"))
	_, err := s.Key(t.Context(), "acme", key.ID)
	isUnavailable(t, "Key", err)
	want := fmt.Sprintf("key store at %q: decoding %q: unexpected end of JSON input", s.Path(), "k/"+key.ID)
	if err.Error() != want {
		t.Errorf("got error %q, want %q", err, want)
	}
}

func TestReads_damagedSuspension(t *testing.T) {
	for _, record := range []string{"", "{", "{}", "null", `{"suspended_at":"never"}`} {
		t.Run(record, func(t *testing.T) {
			s := openNew(t)
			mustApply(t, s, start, apikey.Suspend{WorkspaceID: "acme"})
			plant(t, s, suspensionKey("acme"), []byte(record))
			_, err := s.Workspace(t.Context(), "acme")
			isUnavailable(t, "Workspace", err)
			refused(t, s, start, apikey.Resume{WorkspaceID: "acme"}, apikey.ErrStoreUnavailable)
			paused, err := s.SuspendedWorkspaces()
			if err != nil || !slices.Equal(paused, []string{"acme"}) {
				t.Errorf("SuspendedWorkspaces: got %q, error %v; want acme, whose keys stay refused", paused, err)
			}
		})
	}
}

// TestSuspensions: pages of them, even where the last one of a page is resumed
// before the next is asked for.
func TestSuspensions(t *testing.T) {
	s := openNew(t)
	for _, ws := range []string{"acme", "globex", "initech", "a"} {
		mustApply(t, s, start, apikey.Suspend{WorkspaceID: ws, Reason: "unpaid"})
	}
	mustCreate(t, s, "umbrella", "Zapier", start)
	var got []string
	after := ""
	for {
		page, next, err := s.Suspensions(t.Context(), apikey.Page{Limit: 2, After: after})
		if err != nil {
			t.Fatal(err)
		}
		for _, ws := range page {
			got = append(got, ws.ID)
			equal(t, "suspension of "+ws.ID, ws, apikey.Workspace{ID: ws.ID, SuspendedAt: start, Reason: "unpaid"})
		}
		if next == "" {
			break
		}
		mustApply(t, s, start, apikey.Resume{WorkspaceID: next})
		after = next
	}
	equal(t, "suspended", got, []string{"a", "acme", "globex", "initech"})
}
