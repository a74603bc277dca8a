package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Apply makes one change: its records, its indexes and its audit event, in one
// transaction that is on the disk when Apply returns. Whoever was named to Open
// has been told by then.
//
// It fails with an [*apikey.Error]: a refusal that changed nothing, or
// ErrStoreUnavailable or ErrNoSpace, after which nothing was changed either.
func (s *Store) Apply(ctx context.Context, change apikey.Change) (apikey.Outcome, error) {
	if s == nil {
		return apikey.Outcome{}, apikey.ErrStoreUnavailable
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return apikey.Outcome{}, apikey.ErrStoreUnavailable
	}
	s.changes.Lock()
	defer s.changes.Unlock()

	if err := ctx.Err(); err != nil {
		return apikey.Outcome{}, s.refine(err)
	}
	if err := s.writable(); err != nil {
		return apikey.Outcome{}, err
	}
	var outcome apikey.Outcome
	err := s.db.Update(func(txn *badger.Txn) (err error) {
		outcome, err = apply(txn, change)
		return err
	})
	if err != nil {
		return apikey.Outcome{}, s.refine(err)
	}
	if s.onChange != nil && !outcome.Unchanged {
		s.onChange(outcome)
	}
	return outcome, nil
}

// apply is the one place where an action meets the records that it changes.
func apply(txn *badger.Txn, change apikey.Change) (apikey.Outcome, error) {
	var (
		outcome apikey.Outcome
		details map[string]any
		err     error
	)
	switch do := change.Do.(type) {
	case apikey.Create:
		outcome, details, err = create(txn, change, do)
	case apikey.Revoke:
		outcome, details, err = revoke(txn, change, do)
	case apikey.Suspend:
		outcome, details, err = suspend(txn, change, do)
	case apikey.Resume:
		outcome, details, err = resume(txn, do)
	case apikey.Expose:
		outcome, details, err = expose(txn, change, do)
	default:
		err = fmt.Errorf("unknown change %T", do)
	}
	if err != nil || outcome.Unchanged {
		return outcome, err
	}
	return outcome, record(txn, change, outcome, details)
}

// record writes the audit event of a change.
func record(txn *badger.Txn, change apikey.Change, outcome apikey.Outcome, details map[string]any) error {
	event := eventRecord{
		ID: change.EventID, At: toMillis(change.At), Actor: change.Actor, RemoteIP: change.RemoteIP,
		Operation:   string(change.Do.Operation()),
		WorkspaceID: outcome.Key.WorkspaceID, KeyID: outcome.Key.ID, Details: details,
	}
	if event.WorkspaceID == "" {
		event.WorkspaceID = outcome.Workspace.ID
	}
	if err := save(txn, eventKey(event.ID), event); err != nil {
		return err
	}
	return txn.Set(eventIndexKey(event.WorkspaceID, event.ID), nil)
}

func create(txn *badger.Txn, change apikey.Change, do apikey.Create) (apikey.Outcome, map[string]any, error) {
	key := do.Key
	active, err := activeNames(txn, key.WorkspaceID, change.At)
	if err != nil {
		return apikey.Outcome{}, nil, err
	}
	folded := apikey.FoldName(key.Name)
	if _, taken := active[folded]; taken {
		return apikey.Outcome{}, nil, apikey.ErrNameTaken
	}
	if do.MaxActive > 0 && len(active) >= do.MaxActive {
		return apikey.Outcome{}, nil, apikey.ErrTooManyKeys
	}
	record := toRecord(&key)
	if _, err := record.key(); err != nil {
		return apikey.Outcome{}, nil, err
	}
	for _, unique := range [][]byte{recordKey(key.ID), digestKey(key.Digest)} {
		if _, err := txn.Get(unique); !errors.Is(err, badger.ErrKeyNotFound) {
			return apikey.Outcome{}, nil, errors.Join(fmt.Errorf("the id or the digest of %s is known already", key.ID), err)
		}
	}
	if err := errors.Join(
		save(txn, recordKey(key.ID), record),
		txn.Set(digestKey(key.Digest), []byte(key.ID)),
		txn.Set(workspaceKey(key.WorkspaceID, key.ID), nil),
		txn.Set(nameKey(key.WorkspaceID, folded), []byte(key.ID)),
	); err != nil {
		return apikey.Outcome{}, nil, err
	}
	details := map[string]any{"name": key.Name, "owner": key.Owner, "preset": string(key.Preset), "expires_at": key.ExpiresAt.Format(time.RFC3339Nano)}
	return apikey.Outcome{Key: key, Stale: []apikey.Digest{key.Digest}}, details, nil
}

// maxForgotten bounds the names that one change forgets: a transaction can hold
// some ten thousand writes.
const maxForgotten = 1000

// activeNames returns the folded names of a workspace's active keys. Names of
// keys that have ended are forgotten on the way, so that the index stays about
// as small as the number of keys that a workspace may have.
func activeNames(txn *badger.Txn, workspaceID string, now time.Time) (map[string]string, error) {
	active := make(map[string]string)
	prefix := nameKey(workspaceID, "")
	var ended [][]byte
	err := each(txn, prefix, func(item *badger.Item) error {
		id, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		key, err := keyByID(txn, string(id))
		if err != nil {
			return err
		}
		if key.Status(now) == apikey.Active {
			active[string(item.Key()[len(prefix):])] = key.ID
			return nil
		}
		if len(ended) < maxForgotten {
			ended = append(ended, item.KeyCopy(nil))
		}
		return nil
	})
	for _, name := range ended {
		err = errors.Join(err, txn.Delete(name))
	}
	return active, err
}

func revoke(txn *badger.Txn, change apikey.Change, do apikey.Revoke) (apikey.Outcome, map[string]any, error) {
	key, err := keyInWorkspace(txn, do.WorkspaceID, do.KeyID)
	if err != nil {
		return apikey.Outcome{}, nil, err
	}
	if key.Status(change.At) == apikey.Revoked {
		return apikey.Outcome{Key: *key, Unchanged: true}, nil, nil
	}
	key.RevokedAt, key.RevokedBy, key.RevokeReason = change.At, change.Actor, do.Reason
	if err := save(txn, recordKey(key.ID), toRecord(key)); err != nil {
		return apikey.Outcome{}, nil, err
	}
	details := map[string]any{"name": key.Name, "reason": do.Reason}
	return apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}}, details, nil
}

func expose(txn *badger.Txn, change apikey.Change, do apikey.Expose) (apikey.Outcome, map[string]any, error) {
	key, err := keyInWorkspace(txn, do.WorkspaceID, do.KeyID)
	if err != nil {
		return apikey.Outcome{}, nil, err
	}
	if !key.ExposedAt.IsZero() {
		return apikey.Outcome{Key: *key, Unchanged: true}, nil, nil
	}
	key.ExposedAt = change.At
	if err := save(txn, recordKey(key.ID), toRecord(key)); err != nil {
		return apikey.Outcome{}, nil, err
	}
	return apikey.Outcome{Key: *key, Stale: []apikey.Digest{key.Digest}}, map[string]any{"name": key.Name}, nil
}

func suspend(txn *badger.Txn, change apikey.Change, do apikey.Suspend) (apikey.Outcome, map[string]any, error) {
	ws, err := workspaceByID(txn, do.WorkspaceID)
	if err != nil {
		return apikey.Outcome{}, nil, err
	}
	if ws.Suspended() {
		return apikey.Outcome{Workspace: ws, Unchanged: true}, nil, nil
	}
	ws.SuspendedAt, ws.Reason = change.At, do.Reason
	err = save(txn, suspensionKey(ws.ID), workspaceRecord{SuspendedAt: toMillis(ws.SuspendedAt), Reason: ws.Reason})
	return apikey.Outcome{Workspace: ws}, map[string]any{"reason": ws.Reason}, err
}

func resume(txn *badger.Txn, do apikey.Resume) (apikey.Outcome, map[string]any, error) {
	ws, err := workspaceByID(txn, do.WorkspaceID)
	if err != nil {
		return apikey.Outcome{}, nil, err
	}
	if !ws.Suspended() {
		return apikey.Outcome{Workspace: ws, Unchanged: true}, nil, nil
	}
	err = txn.Delete(suspensionKey(ws.ID))
	return apikey.Outcome{Workspace: apikey.Workspace{ID: ws.ID}}, nil, err
}
