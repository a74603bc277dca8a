package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// workspaceIDsOf returns the ids of all workspaces with a text, and how many pages they
// are on.
func workspaceIDsOf(t testing.TB, s *Store, query string, size int) (ids []string, pages int) {
	t.Helper()
	for page := (apikey.Page{Limit: size}); ; {
		found, next, err := s.Workspaces(t.Context(), query, page)
		if err != nil || len(found) > size {
			t.Fatalf("Workspaces(%q, %+v): got %d and error %v, want a page", query, page, len(found), err)
		}
		pages++
		for _, ws := range found {
			ids = append(ids, ws.ID)
		}
		if next == "" {
			return ids, pages
		}
		page.After = next
	}
}

// find returns all keys that a filter chooses as "workspace name", and how many pages
// they are on.
func find(t testing.TB, s *Store, filter apikey.KeyFilter, size int, now time.Time) (keys []string, pages int) {
	t.Helper()
	for page := (apikey.Page{Limit: size}); ; {
		found, next, err := s.FindKeys(t.Context(), filter, page, now)
		if err != nil || len(found) > size {
			t.Fatalf("FindKeys(%+v, %+v): got %d and error %v, want a page", filter, page, len(found), err)
		}
		pages++
		for _, key := range found {
			keys = append(keys, key.WorkspaceID+" "+key.Name)
		}
		if next == "" {
			return keys, pages
		}
		page.After = next
	}
}

// Workspaces are in the order of their ids, whatever their lengths, and those without a
// key are among them only while they are suspended.
func TestWorkspaces_order(t *testing.T) {
	s := openNew(t)
	longest := strings.Repeat("b", maxWorkspaceID)
	want := []string{"-x", "0", "B", "_", "a", "a-b", "aa", "ab", "b", longest, "c"}
	keys := map[string]apikey.Key{}
	for i := range want {
		ws := want[(i*7)%len(want)]
		if ws == "ab" {
			mustApply(t, s, start, apikey.Suspend{WorkspaceID: ws})
			continue
		}
		keys[ws] = newKey(ws, "Zapier", start)
		mustApply(t, s, start, apikey.Create{Key: keys[ws]})
	}
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "b", Reason: "unpaid"})
	mustRevoke(t, s, keys["a"], start)
	for _, size := range []int{1, 3, len(want), 200} {
		ids, pages := workspaceIDsOf(t, s, "", size)
		equal(t, fmt.Sprintf("in pages of %d", size), ids, want)
		equal(t, "pages", pages, (len(want)+size-1)/size)
	}
	ids, _ := workspaceIDsOf(t, s, "B", 2)
	equal(t, "with a b", ids, []string{"B", "a-b", "ab", "b", longest})
	mustApply(t, s, start, apikey.Resume{WorkspaceID: "ab"})
	ids, _ = workspaceIDsOf(t, s, "ab", 2)
	equal(t, "one that was resumed and has no keys", len(ids), 0)

	found, next, err := s.Workspaces(t.Context(), "", apikey.Page{Limit: 1, After: "aaaa"})
	if err != nil || len(found) != 1 || next != "b" {
		t.Fatalf("after one that does not exist: got %+v, next %q and error %v, want b", found, next, err)
	}
	equal(t, "suspension", found[0], apikey.Workspace{ID: "b", SuspendedAt: start, Reason: "unpaid"})
}

// A search of workspaces looks at so many, and says where to continue; and so does one that
// finds as many keys as can be counted.
func TestWorkspaces_isBounded(t *testing.T) {
	s := openNew(t)
	keys := make([]apikey.Key, maxLooked+10)
	for i := range keys {
		keys[i] = newKey(fmt.Sprint("w", i), "Zapier", start)
	}
	keys[0].WorkspaceID = "x"
	putKeys(t, s, keys)
	found, next, err := s.Workspaces(t.Context(), "x", apikey.Page{Limit: 10})
	if err != nil || len(found) != 0 || next == "" {
		t.Errorf("got %+v, next %q and error %v, want none, and a next page", found, next, err)
	}
	ids, pages := workspaceIDsOf(t, s, "x", 10)
	equal(t, "found in the end", ids, []string{"x"})
	equal(t, "pages", pages, 2)

	err = behind(s, func(txn *transaction) error {
		many := roster{Current: maxCounted / 2}
		return errors.Join(many.save(txn, "a1"), many.save(txn, "a2"), many.save(txn, "a3"))
	})
	if err != nil {
		t.Fatal(err)
	}
	found, next, err = s.Workspaces(t.Context(), "a", apikey.Page{Limit: 10})
	if err != nil || len(found) != 2 || next != "a2" {
		t.Errorf("with many keys: got %+v, next %q and error %v, want a1 and a2, and a next page", found, next, err)
	}
	ids, _ = workspaceIDsOf(t, s, "a", 10)
	equal(t, "with many keys", ids, []string{"a1", "a2", "a3"})
}

// Keys of all workspaces are in the order of these, and newest first within each, on
// however many pages.
func TestFindKeys(t *testing.T) {
	s := openNew(t)
	make := func(ws, name string, days int) apikey.Key {
		key := newKey(ws, name, start)
		key.ExpiresAt = start.Add(time.Duration(days) * day)
		mustApply(t, s, start, apikey.Create{Key: key})
		return key
	}
	make("b", "Zapier", 3)
	make("ab", "Billing", 30)
	revoked := make("ab", "Zapier", 3)
	make("b", "Nightly export", 3)
	old := make("a", "Zapier", 30)
	mustRevoke(t, s, revoked, start)
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "aa"})
	do := rotation(old, start)
	do.Replacement.Name, do.RevokeOldAt = "Zapier 2", start.Add(2*day)
	mustApply(t, s, start, do)
	now := start.Add(day)
	for _, test := range []struct {
		filter apikey.KeyFilter
		want   []string
	}{
		{apikey.KeyFilter{}, []string{"a Zapier 2", "a Zapier", "ab Zapier", "ab Billing", "b Nightly export", "b Zapier"}},
		{apikey.KeyFilter{Query: "ZAPIER"}, []string{"a Zapier 2", "a Zapier", "ab Zapier", "b Zapier"}},
		{apikey.KeyFilter{Query: revoked.TokenHint}, []string{"ab Zapier"}},
		{apikey.KeyFilter{Query: strings.ToLower(revoked.ID)}, []string{"ab Zapier"}},
		{apikey.KeyFilter{Query: "ops", Status: apikey.Revoked}, []string{"ab Zapier"}},
		{apikey.KeyFilter{Status: apikey.Active}, []string{"a Zapier 2", "a Zapier", "ab Billing", "b Nightly export", "b Zapier"}},
		{apikey.KeyFilter{Query: "nobody"}, nil},
		{apikey.KeyFilter{EndsBy: start.Add(2 * day)}, []string{"a Zapier"}}, // to be revoked
		{apikey.KeyFilter{EndsBy: start.Add(3 * day)}, []string{"a Zapier", "b Nightly export", "b Zapier"}},
		{apikey.KeyFilter{EndsBy: start.Add(3*day - time.Millisecond)}, []string{"a Zapier"}},
		{apikey.KeyFilter{EndsBy: start.Add(3 * day), Query: "zap", Status: apikey.Active}, []string{"a Zapier", "b Zapier"}},
		{apikey.KeyFilter{EndsBy: start.Add(3 * day), Status: apikey.Revoked}, nil},
	} {
		for _, size := range []int{1, 2, 4, 200} {
			keys, pages := find(t, s, test.filter, size, now)
			equal(t, fmt.Sprintf("%+v in pages of %d", test.filter, size), keys, test.want)
			equal(t, fmt.Sprintf("%+v: pages of %d", test.filter, size), pages, max(1, (len(test.want)+size-1)/size))
		}
	}
	for _, after := range []string{"/", "a/", "a/key_1", "a/" + old.ID + "/", ".", old.ID + "/a"} {
		_, _, err := s.FindKeys(t.Context(), apikey.KeyFilter{}, apikey.Page{Limit: 1, After: after}, now)
		if !errors.Is(err, apikey.ErrInvalidCursor) {
			t.Errorf("after %q: got error %v, want %v", after, err, apikey.ErrInvalidCursor)
		}
	}
}

// The next page starts where a key or a workspace was that is gone.
func TestFindKeys_afterWhatIsGone(t *testing.T) {
	s := openNew(t)
	var ids []string
	for _, ws := range []string{"a", "b", "b", "c"} {
		key := newKey(ws, fmt.Sprint("Key ", len(ids)), start)
		mustApply(t, s, start, apikey.Create{Key: key})
		ids = append(ids, key.ID)
	}
	later, between := apikey.NewKeyID(start.Add(time.Hour)), ids[0]
	for _, test := range []struct {
		after apikey.Place
		want  []string
	}{
		{apikey.Place{WorkspaceID: "b", KeyID: later}, []string{"b Key 2", "b Key 1", "c Key 3"}},
		{apikey.Place{WorkspaceID: "b", KeyID: between}, []string{"c Key 3"}},
		{apikey.Place{WorkspaceID: "aa", KeyID: between}, []string{"b Key 2", "b Key 1", "c Key 3"}},
		{apikey.Place{WorkspaceID: "aa"}, []string{"b Key 2", "b Key 1", "c Key 3"}},
		{apikey.Place{WorkspaceID: "b"}, []string{"c Key 3"}},
		{apikey.Place{WorkspaceID: "d"}, nil},
	} {
		for _, filter := range []apikey.KeyFilter{{}, {Status: apikey.Active}, {EndsBy: start.Add(life)}} {
			keys, next, err := s.FindKeys(t.Context(), filter, apikey.Page{Limit: 10, After: test.after.String()}, start)
			var got []string
			for _, key := range keys {
				got = append(got, key.WorkspaceID+" "+key.Name)
			}
			if err != nil || next != "" || !slices.Equal(got, test.want) {
				t.Errorf("%+v after %q: got %q, next %q and error %v, want %q", filter, test.after, got, next, err, test.want)
			}
		}
	}
}

// A search of all workspaces looks at so many keys and workspaces, and says where to go
// on.
func TestFindKeys_isBounded(t *testing.T) {
	s := openNew(t)
	var keys []apikey.Key
	for i := range maxSorted + 1 {
		keys = append(keys, newKey("many", fmt.Sprint("Key ", i), start))
	}
	for i := range maxLooked - 500 {
		keys = append(keys, newKey(fmt.Sprint("w", i%5), fmt.Sprint("Key ", i), start))
	}
	last, dead := newKey("x", "Zapier", start), newKey("y", "Billing", start)
	putKeys(t, s, append(keys, last, dead))
	mustRevoke(t, s, dead, start)
	for _, test := range []struct {
		filter apikey.KeyFilter
		want   []string
		pages  int
	}{
		{apikey.KeyFilter{Query: "zapier"}, []string{"x Zapier"}, 2},
		{apikey.KeyFilter{Query: "zapier", Status: apikey.Active}, []string{"x Zapier"}, 3}, // reads the rosters too
		{apikey.KeyFilter{Query: "zapier", EndsBy: start.Add(life)}, []string{"x Zapier"}, 3},
		{apikey.KeyFilter{Status: apikey.Revoked}, []string{"y Billing"}, 2},
		{apikey.KeyFilter{Query: "nobody"}, nil, 2},
	} {
		found, next, err := s.FindKeys(t.Context(), test.filter, apikey.Page{Limit: 10}, start)
		if err != nil || len(found) != 0 || next == "" {
			t.Errorf("%+v: got %d keys, next %q and error %v, want none, and a next page", test.filter, len(found), next, err)
		}
		got, pages := find(t, s, test.filter, 10, start)
		equal(t, fmt.Sprintf("%+v: found in the end", test.filter), got, test.want)
		equal(t, fmt.Sprintf("%+v: pages", test.filter), pages, test.pages)
	}
	all, _ := find(t, s, apikey.KeyFilter{EndsBy: start.Add(life)}, 200, start)
	equal(t, "keys that end", len(all), len(keys)+1)
	all, _ = find(t, s, apikey.KeyFilter{}, 200, start)
	equal(t, "keys", len(all), len(keys)+2)
}

func TestFindKey(t *testing.T) {
	s := openNew(t)
	key := newKey("acme", "Zapier", start)
	mustApply(t, s, start, apikey.Create{Key: key})
	mustNote(t, s, map[string]time.Time{key.ID: start.Add(time.Hour)})
	found, err := s.FindKey(t.Context(), key.ID)
	if err != nil {
		t.Fatalf("got error %v, want a key", err)
	}
	equal(t, "workspace", found.WorkspaceID, "acme")
	equal(t, "last use", found.LastUsedAt, start.Add(time.Hour))
	if _, err := s.FindKey(t.Context(), apikey.NewKeyID(start)); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("another: got error %v, want %v", err, apikey.ErrNotFound)
	}
}
