package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Lookup returns the key whose token has the given digest, regardless of its status and
// without its last use, or [apikey.ErrNotFound].
func (s *Store) Lookup(digest apikey.Digest) (*apikey.Key, error) {
	var key *apikey.Key
	err := s.view(func(txn *durable.Txn) (err error) {
		key, err = keyByDigest(txn, digest)
		return err
	})
	if err != nil {
		return nil, err
	}
	return key, nil
}

// Key returns a key of a workspace, or [apikey.ErrNotFound], which does not reveal
// whether another workspace has it.
func (s *Store) Key(_ context.Context, workspaceID, keyID string) (key *apikey.Key, err error) {
	err = s.view(func(txn *durable.Txn) error {
		if key, err = keyInWorkspace(txn, workspaceID, keyID); err != nil {
			return err
		}
		return addUse(txn, key)
	})
	return key, err
}

// Events returns a page of the audit trail of one workspace or, with "", of all, newest
// first, and the id after which the next page starts.
func (s *Store) Events(ctx context.Context, workspaceID string, page apikey.Page) (events []apikey.Event, next string, err error) {
	prefix := eventKey("")
	if workspaceID != "" {
		prefix = eventIndexKey(workspaceID, "")
	}
	err = s.view(func(txn *durable.Txn) error {
		if page.After != "" {
			if err := cursorIn(txn, prefix, page.After); err != nil {
				return err
			}
		}
		for id := range newestFirst(txn, prefix, page.After) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if len(events) == page.Limit {
				next = events[len(events)-1].ID
				return nil
			}
			var r eventRecord
			if err := load(txn, eventKey(id), &r); err != nil {
				return err
			}
			events = append(events, r.event())
		}
		return nil
	})
	return events, next, err
}

// Workspace returns what is known about a workspace apart from its keys. An unknown
// workspace is one without keys.
func (s *Store) Workspace(_ context.Context, workspaceID string) (ws apikey.Workspace, err error) {
	err = s.view(func(txn *durable.Txn) error {
		ws, err = workspaceByID(txn, workspaceID)
		return err
	})
	return ws, err
}

// SuspendedWorkspaces returns the ids of all suspended workspaces.
func (s *Store) SuspendedWorkspaces() (ids []string, err error) {
	prefix := []byte("s/")
	err = s.view(func(txn *durable.Txn) error {
		return each(txn, prefix, func(key, _ []byte) error {
			ids = append(ids, string(key[len(prefix)+1:]))
			return nil
		})
	})
	return ids, err
}

// Suspensions returns a page of the suspended workspaces, and the id after which the
// next page starts. That workspace may have been resumed by then.
func (s *Store) Suspensions(ctx context.Context, page apikey.Page) (suspended []apikey.Workspace, next string, err error) {
	from := []byte("s/")
	if page.After != "" {
		from = append(suspensionKey(page.After), 0)
	}
	err = s.view(func(txn *durable.Txn) error {
		return eachFrom(ctx, txn, from, []byte("s0"), func(key, _ []byte) error { // 0 comes after /
			if len(suspended) == page.Limit {
				next = suspended[len(suspended)-1].ID
				return errEnough
			}
			ws, err := workspaceByID(txn, string(key[len("s/")+1:]))
			suspended = append(suspended, ws)
			return err
		})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return suspended, next, err
}

// errEnough stops a walk.
var errEnough = errors.New("enough")

func keyByID(txn reader, id string) (*apikey.Key, error) {
	value, err := txn.Get(recordKey(id))
	if err != nil {
		return nil, err
	}
	return decodeKey(id, value)
}

// keyIDIn returns the key id in the database key of a record.
func keyIDIn(record []byte) string { return string(record[len("k/"):]) }

// decodeKey decodes the record of the key with the given id.
func decodeKey(id string, value []byte) (*apikey.Key, error) {
	var r keyRecord
	if err := decode(recordKey(id), value, &r); err != nil {
		return nil, err
	}
	if r.ID != id {
		return nil, fmt.Errorf("the record of %s is of another key", id)
	}
	return r.key()
}

func keyByDigest(txn reader, digest apikey.Digest) (*apikey.Key, error) {
	granted, err := grantOf(txn, digest)
	if err != nil {
		return nil, err
	}
	key, err := keyByID(txn, granted.ID())
	if err == nil && key.Digest != digest {
		err = errors.New("the record of " + key.ID + " is of another token")
	}
	return key, err
}

// activeKey returns a key of a workspace, which must be active to be changed.
func activeKey(txn reader, workspaceID, keyID string, now time.Time) (*apikey.Key, error) {
	key, err := keyInWorkspace(txn, workspaceID, keyID)
	if err != nil {
		return nil, err
	}
	if key.Status(now) != apikey.Active {
		return nil, apikey.ErrNotActive
	}
	return key, nil
}

// knownKey is keyByID for an id that somebody asks for.
func knownKey(txn reader, keyID string) (*apikey.Key, error) {
	key, err := keyByID(txn, keyID)
	if errors.Is(err, durable.ErrNotFound) {
		err = apikey.ErrNotFound
	}
	return key, err
}

func keyInWorkspace(txn reader, workspaceID, keyID string) (*apikey.Key, error) {
	key, err := knownKey(txn, keyID)
	if err != nil {
		return nil, err
	}
	if key.WorkspaceID != workspaceID {
		return nil, apikey.ErrNotFound
	}
	return key, nil
}

func workspaceByID(txn reader, id string) (apikey.Workspace, error) {
	var r workspaceRecord
	err := load(txn, suspensionKey(id), &r)
	if errors.Is(err, durable.ErrNotFound) {
		return apikey.Workspace{ID: id}, nil
	}
	ws := apikey.Workspace{ID: id, SuspendedAt: r.SuspendedAt.time(), Reason: r.Reason, Own: r.Own}
	if err == nil && !ws.Suspended() {
		// Its keys are refused, because the record exists.
		err = fmt.Errorf("the record of the suspension of %q is damaged", id)
	}
	return ws, err
}

// each calls visit for every entry whose key begins with a prefix, in order.
func each(txn reader, prefix []byte, visit func(key, value []byte) error) error {
	for key, value := range txn.Below(prefix) {
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}

// eachFrom calls visit for every entry between from, inclusive, and to, exclusive, in
// order.
func eachFrom(ctx context.Context, txn reader, from, to []byte, visit func(key, value []byte) error) error {
	for key, value := range txn.Between(from, to) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := visit(key, value); err != nil {
			return err
		}
	}
	return nil
}
