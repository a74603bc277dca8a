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
		if err == nil {
			filled, err = filledIn(txn, r)
		}
		return err
	})
	return filled, err
}

func filledIn(txn reader, r replicaRecord) (bool, error) {
	if r.Prefix == "" {
		return true, nil
	}
	_, err := txn.Get(setKey) // it is set once the replica is filled
	return err == nil, ignoreNotFound(err)
}

// isWhole fails if the store is a replica without records of its fleet that nobody would
// expect a backup of it to lack: it has never been filled, or it keeps them to put them back.
// One that is behind, or that is being refilled, has each record in an earlier state at worst.
func isWhole(txn reader) error {
	r, err := replicaIn(txn)
	if err != nil {
		return err
	}
	switch filled, err := filledIn(txn, r); {
	case err != nil:
		return err
	case !filled:
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
