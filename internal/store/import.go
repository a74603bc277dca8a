package store

import (
	"context"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

func importKey(txn *transaction, change apikey.Change, do apikey.Import) (apikey.Outcome, error) {
	key := do.Key
	switch known, err := importable(txn, &key, change.At); {
	case err != nil:
		return apikey.Outcome{}, err
	case known != nil:
		return apikey.Outcome{Key: *known, Unchanged: true}, nil
	}
	if err := errors.Join(txn.arrive(&key, change.At), insert(txn, &key)); err != nil {
		return apikey.Outcome{}, err
	}
	event := created(&key)
	event.Details["created_at"] = key.CreatedAt.Format(time.RFC3339Nano)
	return apikey.Outcome{Key: key, Stale: []apikey.Digest{key.Digest}, Event: event}, nil
}

// importable returns the key that there is already, nil if the key can be imported, or the
// refusal.
func importable(txn reader, key *apikey.Key, now time.Time) (known *apikey.Key, err error) {
	known, err = keyByDigest(txn, key.Digest)
	switch {
	case errors.Is(err, apikey.ErrNotFound):
	case err != nil:
		return nil, err
	case known.WorkspaceID == key.WorkspaceID && known.Status(now) == apikey.Active && known.Name == key.Name && known.Preset == key.Preset:
		return known, nil
	default:
		return nil, apikey.ErrTokenTaken
	}
	switch there, err := buried(txn, key.Digest); {
	case err != nil:
		return nil, err
	case there:
		return nil, apikey.ErrTokenTaken
	}
	// No backup could be restored in which a key and a calendar feed share a token.
	switch _, err := txn.Get(feedKey(key.Digest)); {
	case err == nil:
		return nil, apikey.ErrTokenTaken
	case !errors.Is(err, durable.ErrNotFound):
		return nil, err
	}
	return nil, nameTaken(txn, key.WorkspaceID, key.Name, now)
}

// TryImport returns what an import of a key would do now, and changes nothing.
func (s *Store) TryImport(ctx context.Context, key apikey.Key, now time.Time) (outcome apikey.Outcome, err error) {
	if err := ctx.Err(); err != nil {
		return apikey.Outcome{}, err
	}
	err = s.view(func(txn *durable.Txn) error {
		known, err := importable(txn, &key, now)
		outcome = apikey.Outcome{Key: key}
		if known != nil {
			outcome = apikey.Outcome{Key: *known, Unchanged: true}
		}
		return err
	})
	if err != nil {
		return apikey.Outcome{}, err
	}
	return outcome, nil
}
