package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func mustForget(t testing.TB, s *Store, before time.Time) int {
	t.Helper()
	n, err := s.ForgetEvents(t.Context(), before, before.Add(400*day))
	if err != nil {
		t.Fatalf("ForgetEvents: got error %v, want none", err)
	}
	return n
}

// Events are deleted from before an instant, and not at it, with their places in
// the trail of their workspace. Their cursors are no longer valid.
func TestForgetEvents(t *testing.T) {
	s := openNew(t)
	equal(t, "in an empty store", mustForget(t, s, start), 0)
	workspaces := []string{"acme", "other", "acme"}
	for i, ws := range workspaces {
		mustCreate(t, s, ws, fmt.Sprintf("Key %d", i), start.Add(time.Duration(i)*time.Second))
	}
	refused(t, s, start.Add(3*time.Second), apikey.Lookup{Digest: digestOf("unknown")}, apikey.ErrNotFound)
	mustApply(t, s, start.Add(4*time.Second), apikey.Suspend{WorkspaceID: "other"})
	trail := allEvents(t, s, "")
	slices.Reverse(trail)
	before := contents(t, s)

	for _, step := range []struct {
		before    time.Time
		forgotten int
		left      [3]int // of all, acme, other
	}{
		{start, 0, [3]int{5, 2, 2}},
		{start.Add(time.Millisecond), 1, [3]int{4, 1, 2}},
		{start.Add(time.Second), 0, [3]int{4, 1, 2}},
		{start.Add(2*time.Second + time.Millisecond), 2, [3]int{2, 0, 1}},
		{start.Add(3*time.Second + time.Millisecond), 1, [3]int{1, 0, 1}},
		{start.Add(life), 0, [3]int{1, 0, 1}}, // the newest stays
	} {
		equal(t, fmt.Sprintf("forgotten from before %v", step.before), mustForget(t, s, step.before), step.forgotten)
		left := [3]int{len(allEvents(t, s, "")), len(allEvents(t, s, "acme")), len(allEvents(t, s, "other"))}
		equal(t, fmt.Sprintf("left from %v on", step.before), left, step.left)
		for i, event := range trail {
			_, _, err := s.Events(t.Context(), "", apikey.Page{Limit: 1, After: event.ID})
			if gone := i < len(trail)-left[0]; gone != errors.Is(err, apikey.ErrInvalidCursor) {
				t.Errorf("cursor of event %d: got error %v, want it invalid: %t", i, err, gone)
			}
		}
	}
	_, _, err := s.Events(t.Context(), "acme", apikey.Page{Limit: 1, After: trail[0].ID})
	if !errors.Is(err, apikey.ErrInvalidCursor) {
		t.Errorf("cursor in the workspace's trail: got error %v, want ErrInvalidCursor", err)
	}
	equal(t, "the rest of the store", contents(t, s), before)
	mustApply(t, s, start.Add(life), apikey.Resume{WorkspaceID: "other"})
	equal(t, "forgotten once there is a newer", mustForget(t, s, start.Add(life)), 1)
}

// Many events are deleted in several transactions, alongside changes.
func TestForgetEvents_many(t *testing.T) {
	for _, many := range []int{maxForgottenEvents - 1, maxForgottenEvents, maxForgottenEvents + 1, 2*maxForgottenEvents + 500} {
		s := openNew(t)
		putEvents(t, s, many, start)
		later := start.Add(day)
		mustCreate(t, s, "acme", "Zapier", later)
		done := make(chan struct{})
		go func() {
			defer close(done)
			mustCreate(t, s, "acme", "Billing", later)
		}()
		equal(t, "forgotten", mustForget(t, s, later), many)
		<-done
		equal(t, "left", len(allEvents(t, s, "acme")), 2)
		equal(t, "left of all", len(allEvents(t, s, "")), 2)
	}
}

func TestForgetEvents_stopped(t *testing.T) {
	s := openNew(t)
	putEvents(t, s, 10, start)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.ForgetEvents(ctx, start.Add(day), start.Add(2*day))
	isUnavailable(t, "ForgetEvents", err)
	leave(s, 0)
	if _, err := s.ForgetEvents(t.Context(), start.Add(day), start.Add(2*day)); !errors.Is(err, apikey.ErrNoSpace) {
		t.Errorf("got error %v, want ErrNoSpace", err)
	}
	equal(t, "left", len(allEvents(t, s, "")), 10)
}

// putEvents writes many events behind the store's back.
func putEvents(t testing.TB, s *Store, n int, at time.Time) {
	t.Helper()
	if err := s.db.NoteAll(func(set func(key, value []byte) error) error {
		for range n {
			id := apikey.NewEventID(at)
			value := fmt.Sprintf(`{"id":%q,"at":%d,"actor":"tester","operation":"create","workspace_id":"acme"}`, id, at.UnixMilli())
			if err := errors.Join(set(eventKey(id), []byte(value)), set(eventIndexKey("acme", id), nil)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
