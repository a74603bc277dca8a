package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

const (
	feedPrefix      = "f/"
	endedFeedPrefix = "h/"
)

func feedKey(d apikey.Digest) []byte    { return append([]byte(feedPrefix), d[:]...) }
func workspaceFeedKey(ws string) []byte { return inWorkspace("g/", ws, "") }

func damagedFeed(workspaceID string) error {
	return fmt.Errorf("the calendar feed of %q is damaged", workspaceID)
}

// feedRecord is the calendar feed of a workspace.
type feedRecord struct {
	WorkspaceID string `json:"workspace_id"`
	Digest      []byte `json:"digest"`
	CreatedAt   millis `json:"created_at"`
	CreatedBy   string `json:"created_by,omitempty"`
}

// feedState says, for the token of a calendar feed, which workspace it belongs to or
// when the feed ended.
type feedState struct {
	WorkspaceID string `json:"workspace_id,omitempty"`
	EndedAt     millis `json:"ended_at,omitzero"`
}

func (s feedState) encode() []byte {
	encoded, _ := json.Marshal(s) // which cannot fail
	return encoded
}

func loadFeedState(txn reader, digest apikey.Digest) (state feedState, known bool, err error) {
	err = load(txn, feedKey(digest), &state)
	return state, err == nil, ignoreNotFound(err)
}

// Feed returns the workspace whose calendar feed's token has the given digest,
// or [apikey.ErrNotFound].
func (s *Store) Feed(_ context.Context, digest apikey.Digest) (workspaceID string, err error) {
	err = s.view(func(txn *durable.Txn) error {
		state, known, err := loadFeedState(txn, digest)
		if err != nil {
			return err
		}
		if !known || state.EndedAt != 0 {
			return apikey.ErrNotFound
		}
		workspaceID = state.WorkspaceID
		live, err := feedOf(txn, workspaceID)
		if err == nil && live != digest {
			// Only the feed in the record of its workspace counts.
			err = damagedFeed(workspaceID)
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return workspaceID, nil
}

// feedOf returns the digest of a workspace's feed, or the zero digest if it has none.
func feedOf(txn reader, workspaceID string) (digest apikey.Digest, err error) {
	var r feedRecord
	switch err := load(txn, workspaceFeedKey(workspaceID), &r); {
	case errors.Is(err, durable.ErrNotFound):
		return digest, nil
	case err != nil:
		return digest, err
	case r.WorkspaceID != workspaceID || len(r.Digest) != len(digest):
		return digest, damagedFeed(workspaceID)
	}
	return apikey.Digest(r.Digest), nil
}

func openFeed(txn *transaction, change apikey.Change, do apikey.OpenFeed) (apikey.Outcome, error) {
	replaced, err := endFeed(txn, do.WorkspaceID, change.At)
	if err != nil {
		return apikey.Outcome{}, err
	}
	if _, known, err := loadFeedState(txn, do.Digest); known || err != nil {
		return apikey.Outcome{}, errors.Join(errors.New("the store already has the digest of a new calendar feed"), err)
	}
	return apikey.Outcome{Event: apikey.Event{Details: map[string]any{"replaced": replaced}}}, putFeed(txn, &feedRecord{
		WorkspaceID: do.WorkspaceID, Digest: do.Digest[:], CreatedAt: toMillis(change.At), CreatedBy: change.Actor,
	})
}

func closeFeed(txn *transaction, change apikey.Change, do apikey.CloseFeed) (apikey.Outcome, error) {
	ended, err := endFeed(txn, do.WorkspaceID, change.At)
	return apikey.Outcome{Unchanged: !ended}, err
}

// endFeed ends the feed of a workspace, and reports whether it had one.
func endFeed(txn *transaction, workspaceID string, at time.Time) (bool, error) {
	digest, err := feedOf(txn, workspaceID)
	if err != nil || digest == (apikey.Digest{}) {
		return false, err
	}
	return true, putEndedFeed(txn, digest, feedState{WorkspaceID: workspaceID}, toMillis(at))
}
