package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A race is a hundred changes at once, of which it is known how many may take
// effect, and with what the others are refused.
func race(t *testing.T, s *Store, action func(i int) apikey.Action, refusals ...error) {
	t.Helper()
	before := len(allEvents(t, s, ""))
	done := make([]apikey.Outcome, 100)
	failures := atOnce(len(done), func(i int) (err error) {
		done[i], err = s.Apply(t.Context(), changeAt(start, action(i)))
		return err
	})
	for _, err := range failures {
		expected := false
		for _, refusal := range refusals {
			expected = expected || errors.Is(err, refusal)
		}
		if !expected {
			t.Errorf("got error %v, want one of %v", err, refusals)
		}
	}
	events := 0
	for i := range done {
		if !done[i].Unchanged {
			events++
		}
	}
	equal(t, "one event each, but for what changed nothing", len(allEvents(t, s, ""))-before, events)
	sound(t, s, "acme", start)
}

// effects counts the events of changes that were not refused.
func effects(t *testing.T, s *Store, operation apikey.Operation) (n int) {
	t.Helper()
	for _, event := range allEvents(t, s, "") {
		if event.Operation == operation && event.Details["refused"] == nil {
			n++
		}
	}
	return n
}

// tester is a [testing.T] or a [rapid.T].
type tester interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// sound holds the keys of a workspace against what must always be so: active
// keys of one name belong to one line of rotations, and two that replace each
// other know it.
func sound(t tester, s *Store, ws string, now time.Time) {
	t.Helper()
	keys, _, err := s.Keys(t.Context(), ws, apikey.KeyFilter{}, apikey.Page{Limit: 10_000}, now)
	if err != nil {
		t.Fatalf("Keys: got error %v, want all", err)
	}
	byID := map[string]*apikey.Key{}
	for _, key := range keys {
		byID[key.ID] = key
	}
	youngest := map[string]*apikey.Key{} // newest first, so the first of a name is
	for _, key := range keys {
		if next := byID[key.ReplacedBy]; key.ReplacedBy != "" && (next == nil || next.Replaces != key.ID) {
			t.Errorf("%s is replaced by %s, which does not know it", key.ID, key.ReplacedBy)
		}
		if previous := byID[key.Replaces]; key.Replaces != "" && (previous == nil || previous.ReplacedBy == "") {
			t.Errorf("%s replaces %s, which does not know it", key.ID, key.Replaces)
		}
		if key.Status(now) != apikey.Active {
			continue
		}
		name := apikey.FoldName(key.Name)
		successor := youngest[name]
		if successor == nil {
			youngest[name] = key
			continue
		}
		ancestor := successor
		for ancestor != nil && ancestor.ID != key.ID {
			ancestor = byID[ancestor.Replaces]
		}
		if ancestor == nil {
			t.Errorf("two active keys have the name %q, and neither replaces the other", key.Name)
		}
	}
}

func TestRace_revokeAndRotate(t *testing.T) {
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			race(t, s, func(i int) apikey.Action {
				if i%2 == 0 {
					return rotation(key, start)
				}
				return apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}
			}, apikey.ErrNotActive, apikey.ErrAlreadyRotated)
			old := lookup(t, s, key.Digest)
			equal(t, "the old key", old.Status(start), apikey.Revoked)
			equal(t, "revocations", effects(t, s, apikey.OpRevoke), 1)
			rotations := effects(t, s, apikey.OpRotate)
			equal(t, "active keys, as many as rotations", counts(t, s, "acme", start), [3]int{rotations, 0, 1})
			if rotations > 1 || rotations == 1 != (old.ReplacedBy != "") {
				t.Errorf("got %d rotations of a key replaced by %q, want one at most", rotations, old.ReplacedBy)
			}
		})
	}
}

func TestRace_rotateAndRotate(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Zapier", start)
	race(t, s, func(i int) apikey.Action {
		do := rotation(key, start)
		if i%3 == 0 {
			do.Replacement.Name = "Zapier II"
		}
		if i%5 == 0 {
			do.RevokeOldAt = start
		}
		return do
	}, apikey.ErrAlreadyRotated, apikey.ErrNotActive)
	equal(t, "rotations", effects(t, s, apikey.OpRotate), 1)
	got := counts(t, s, "acme", start)
	equal(t, "keys", got[0]+got[2], 2)
}

func TestRace_createAndRotateAndRename(t *testing.T) {
	s := openNew(t)
	rotated := mustCreate(t, s, "acme", "First", start)
	renamed := mustCreate(t, s, "acme", "Second", start)
	race(t, s, func(i int) apikey.Action {
		switch i % 3 {
		case 0:
			return apikey.Create{Key: newKey("acme", "ZAPIER", start), MaxActive: 10}
		case 1:
			do := rotation(rotated, start)
			do.Replacement.Name = "Zapier"
			return do
		}
		return renaming(renamed, "zapier")
	}, apikey.ErrNameTaken, apikey.ErrAlreadyRotated)
	held := 0
	for _, name := range list(t, s, "acme", apikey.KeyFilter{Status: apikey.Active}, 10, start) {
		if strings.EqualFold(name, "zapier") {
			held++
		}
	}
	equal(t, "active keys of the name", held, 1)
}

func TestRace_revokeAllAndEverything(t *testing.T) {
	s := openNew(t)
	keys := make([]apikey.Key, 10)
	for i := range keys {
		keys[i] = mustCreate(t, s, "acme", fmt.Sprintf("Key %d", i), start)
	}
	race(t, s, func(i int) apikey.Action {
		key := keys[i%len(keys)]
		switch i % 4 {
		case 0:
			return apikey.RevokeAll{WorkspaceID: "acme"}
		case 1:
			return rotation(key, start)
		case 2:
			return renaming(key, fmt.Sprintf("Key %d", (i+1)%len(keys)))
		}
		return apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID}
	}, apikey.ErrNotActive, apikey.ErrAlreadyRotated, apikey.ErrNameTaken)
	mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "acme"})
	for _, key := range keys {
		got := lookup(t, s, key.Digest)
		equal(t, "every key of before", got.Status(start), apikey.Revoked)
	}
	equal(t, "active keys", counts(t, s, "acme", start)[0], 0)
}

// The trail tells changes in the order in which they were made, no matter who asked first:
// what is suspended has been resumed before, and the newest event says how the workspace
// is.
func TestRaces_trailInOrder(t *testing.T) {
	s := openNew(t)
	race(t, s, func(i int) apikey.Action {
		if i%2 == 0 {
			return apikey.Suspend{WorkspaceID: "acme"}
		}
		return apikey.Resume{WorkspaceID: "acme"}
	})
	events := allEvents(t, s, "acme") // newest first
	for i := 1; i < len(events); i++ {
		if events[i-1].Operation == events[i].Operation {
			t.Errorf("got %s twice in a row, want the changes in the order in which they were made", events[i].Operation)
		}
	}
	ws, err := s.Workspace(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the newest event is of a suspension", events[0].Operation == apikey.OpSuspend, ws.Suspended())
}
