package store

import (
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// isWhole fails if the store is a replica without records of its fleet that nobody would
// expect a backup of it to lack: it has never been filled, or it keeps them to put them back.
// One that is behind, or that is being refilled, has each record in an earlier state at worst.
func isWhole(txn reader) error {
	r, err := replicaIn(txn)
	if err != nil || r.Prefix == "" {
		return err
	}
	if _, err := txn.Get(setKey); err != nil { // it is set once the replica is filled
		if errors.Is(err, durable.ErrNotFound) {
			err = apikey.ErrFleetPartial
		}
		return err
	}
	if r.KeptAt == 0 {
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
