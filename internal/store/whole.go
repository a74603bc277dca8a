package store

import (
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Filled reports whether the store may be read for people. A replica that has never been
// filled has no keys, or some: what it does not have may exist. One that is behind, or that
// is being refilled, is filled.
func (s *Store) Filled() (filled bool, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := replicaIn(txn)
		if filled = r.Prefix == ""; err != nil || filled {
			return err
		}
		_, err = txn.Get(setKey) // it is set once the replica is filled
		filled = err == nil
		return ignoreNotFound(err)
	})
	return filled, err
}

// isWhole fails if a backup of the store would lack records of its fleet, or could not be
// restored: it is a replica that is being filled, whose records are of two moments until that
// has finished, or it keeps records to put them back. One that is behind is whole.
func isWhole(txn reader) error {
	switch r, err := replicaIn(txn); {
	case err != nil:
		return err
	case r.Incomplete:
		return apikey.ErrFleetPartial
	case r.KeptAt == 0:
		return nil
	}
	for note, value := range txn.Below([]byte(keptPrefix)) {
		has, err := hasRecordsIn(txn, []apikey.Record{keptRecord(note, value)})
		if err == nil && !has { // the replica has gone back already
			err = apikey.ErrFleetPartial
		}
		if err != nil {
			return err
		}
	}
	return nil
}
