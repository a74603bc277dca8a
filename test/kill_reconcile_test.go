package test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// reconcile compares a workspace with what its client was told, and takes over
// what there is. It returns how many of the changes in doubt have been made.
//
// The audit trail must have an event of each change that was acknowledged, and may then
// have those in doubt. Whatever it says must be so, and nothing else.
func (w *tenant) reconcile() (made int, err error) {
	trail, err := trailSince(w.api, w.t.Context(), w.id, "")
	if err != nil {
		return 0, err
	}
	if made, err = w.readOn(trail); err != nil {
		return 0, err
	}
	if err := w.wantAnswers(trail[:len(trail)-made]); err != nil {
		return 0, err
	}
	now, err := readLedger(w.id, trail)
	if err != nil {
		return 0, err
	}
	keys, err := w.list(now)
	if err != nil {
		return 0, err
	}
	if feeds := w.doubt[:made]; len(feeds) == 1 && strings.HasPrefix(feeds[0].Operation, "calendar_feed") {
		w.feedIs(now.feed, "")
	}
	w.keys, w.workspace, w.trail, w.told, w.doubt = keys, now.workspace, trail, nil, nil
	return made, nil
}

// readOn compares an audit trail with how it was when it was read last, and with
// what has been asked for since. It returns how many of the changes in doubt are
// at its end.
func (w *tenant) readOn(trail []client.Event) (made int, err error) {
	if err := wantEvents(trail[:min(len(trail), len(w.trail))], w.trail); err != nil {
		return 0, fmt.Errorf("what was read of the audit trail before has changed: %w", err)
	}
	fresh, asked := trail[len(w.trail):], slices.Concat(w.told, w.doubt)
	if len(fresh) < len(w.told) || len(fresh) > len(asked) {
		return 0, fmt.Errorf("the audit trail has %d new events, want the %d acknowledged ones and %d in doubt: got %s, want %s",
			len(fresh), len(w.told), len(w.doubt), inJSON(fresh), inJSON(asked))
	}
	for i, e := range fresh {
		if !comesOf(e, asked[i]) {
			return 0, fmt.Errorf("got the event %s, want that of %s", inJSON(e), inJSON(asked[i]))
		}
	}
	return len(fresh) - len(w.told), nil
}

// wantAnswers wants that each key is what its last answer said, going by the
// events of the changes that were acknowledged.
func (w *tenant) wantAnswers(acknowledged []client.Event) error {
	then, err := readLedger(w.id, acknowledged)
	if err != nil {
		return err
	}
	for id, answered := range w.keys {
		if recorded := then.keys[id]; !sameKey(bare(answered), recorded) {
			return fmt.Errorf("the key %s was answered as %s, and recorded as %s", id, inJSON(answered), inJSON(recorded))
		}
	}
	if len(then.keys) != len(w.keys) || then.feed != w.hasFeed || !reflect.DeepEqual(then.workspace, w.workspace) {
		return fmt.Errorf("got %d keys, feed: %v, %s; answered were %d keys, feed: %v, %s",
			len(then.keys), then.feed, inJSON(then.workspace), len(w.keys), w.hasFeed, inJSON(w.workspace))
	}
	return nil
}

// list returns the keys as they are listed, which must be what the ledger has:
// all of them, and by status, newest first.
func (w *tenant) list(want *ledger) (map[string]client.Key, error) {
	keys := make(map[string]client.Key)
	var ids []string
	for _, status := range []string{"", "active", "revoked"} {
		options := client.ListOptions{Status: status, Limit: 200}
		for more := true; more; {
			page, err := w.api.ListKeys(w.t.Context(), w.id, options)
			if err != nil {
				return nil, err
			}
			for _, key := range page.Keys {
				ids = append(ids, status+" "+key.ID)
				keys[key.ID] = key
				if err := w.wantListed(key, want.keys[key.ID]); err != nil {
					return nil, err
				}
			}
			if more = page.NextCursor != nil; more {
				options.Cursor = *page.NextCursor
			}
		}
	}
	var wantIDs []string
	for id, key := range want.keys {
		wantIDs = append(wantIDs, " "+id, key.Status+" "+id)
	}
	slices.SortFunc(wantIDs, func(a, b string) int {
		aStatus, aID, _ := strings.Cut(a, " ")
		bStatus, bID, _ := strings.Cut(b, " ")
		if aStatus != bStatus {
			return strings.Compare(aStatus, bStatus)
		}
		return strings.Compare(bID, aID)
	})
	if !slices.Equal(ids, wantIDs) {
		return nil, fmt.Errorf("got the lists %v, want %v", ids, wantIDs)
	}
	return keys, nil
}

// wantListed wants that a key is as it was recorded, has the token that was
// answered, and was last used no earlier than it was before the kill.
func (w *tenant) wantListed(got, recorded client.Key) error {
	if !reflect.DeepEqual(bare(got), recorded) {
		return fmt.Errorf("the key %s is listed as %s, and recorded as %s", got.ID, inJSON(got), inJSON(recorded))
	}
	token, ok := w.tokens[got.ID]
	if ok && got.TokenHint != "agk_…"+token[len(token)-4:] {
		return fmt.Errorf("the key %s has the hint %q, its token ends in %q", got.ID, got.TokenHint, token[len(token)-4:])
	}
	before := w.keys[got.ID].LastUsedAt
	switch use := got.LastUsedAt; {
	case use == nil && before != nil:
		return fmt.Errorf("the key %s was last used at %v, and now never was", got.ID, before)
	case use != nil && (!w.used[got.ID] || use.Before(got.CreatedAt) || use.After(time.Now()) || before != nil && use.Before(*before)):
		return fmt.Errorf("the key %s was last used at %v; before, that was %v, and it was used: %v", got.ID, use, before, w.used[got.ID])
	}
	return nil
}

// wantEvents returns how events are not those that are wanted.
func wantEvents(got, want []client.Event) error {
	for i := range min(len(got), len(want)) {
		if !reflect.DeepEqual(got[i], want[i]) {
			return fmt.Errorf("got the event %s, want %s", inJSON(got[i]), inJSON(want[i]))
		}
	}
	if len(got) != len(want) {
		return fmt.Errorf("got %d events, want %d", len(got), len(want))
	}
	return nil
}

// trailSince returns the events of a workspace, or of all, after one, oldest
// first.
func trailSince(api *client.Client, ctx context.Context, ws, last string) (events []client.Event, err error) {
	for e, err := range api.AllEvents(ctx, ws) {
		if err != nil {
			return nil, err
		}
		if e.ID == last {
			break
		}
		events = append(events, e)
	}
	slices.Reverse(events)
	return events, nil
}
