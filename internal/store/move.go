package store

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// OpenToMove opens a store that no other process has open, to move it into a fleet or out
// of one, and keeps others from opening it. Unlike [Open] and [OpenReplica], it opens
// either kind of store, and creates none.
func OpenToMove(path string) (*Store, error) {
	if err := durable.Present(path); err != nil {
		return nil, err
	}
	s, err := openDirectory(path, false, zap.NewNop(), nil)
	if err == nil {
		s.Alone()
	}
	return s, err
}

// Membership returns what the store knows of its fleet. It is not complete before what it
// has kept is back in the fleet.
func (s *Store) Membership() (m apikey.Membership, err error) {
	err = s.view(func(txn *durable.Txn) error {
		var r replicaRecord
		if err := load(txn, fleetKey, &r); err != nil {
			return ignoreNotFound(err)
		}
		m = apikey.Membership{Prefix: r.Prefix, At: r.Position, Complete: !r.Incomplete && r.KeptAt == 0, Moving: r.Moving, Leaving: r.Leaving}
		return nil
	})
	return m, err
}

// SetMembership makes a store that was opened with [OpenToMove] the replica of a fleet, or
// with the zero value a store of its own. Its records stay as they are, except that a store
// of its own loses its signing keys: what encrypts them is not the same in a fleet. New ones
// are made when they are needed. That is on disk when SetMembership returns.
func (s *Store) SetMembership(ctx context.Context, m apikey.Membership) error {
	return s.writeLocally(ctx, time.Now(), func(txn *transaction) error {
		if m.Prefix == "" {
			return errors.Join(txn.Delete(fleetKey), txn.Delete(setKey), txn.Delete(usageNoteKey), eraseSigningKeys(txn))
		}
		if m.Set != nil {
			if err := txn.Set(setKey, m.Set); err != nil {
				return err
			}
		}
		r, err := replicaIn(txn)
		r.Position, r.Prefix, r.Incomplete, r.Moving, r.Leaving = m.At, m.Prefix, !m.Complete, m.Moving, m.Leaving
		return errors.Join(err, save(txn, fleetKey, r))
	})
}
