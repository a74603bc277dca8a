package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// SigningKeys returns the record of the keys that sign assertions, nil if there is none.
// It contains secrets.
func (s *Store) SigningKeys() (record []byte, err error) {
	err = s.view(func(txn *durable.Txn) error {
		record, err = signingKeysIn(txn)
		return err
	})
	return record, err
}

func signingKeysIn(txn reader) ([]byte, error) {
	record, err := txn.Get(signingKeysKey)
	if errors.Is(err, durable.ErrNotFound) {
		return nil, nil
	}
	return bytes.Clone(record), err
}

// RenewSigningKeys replaces the record of the signing keys by what renew returns for it,
// nil for none; it stays as it is if renew returns nil. In a replica, renew may be called
// several times, and what it has returned last counts. No event is recorded: the audit
// trail is about keys of customers.
func (s *Store) RenewSigningKeys(ctx context.Context, at time.Time, renew func(record []byte) ([]byte, error)) error {
	return s.work(ctx, at, work{do: func(txn *transaction) error {
		before, err := signingKeysIn(txn)
		if err != nil {
			return err
		}
		after, err := renew(before)
		if err != nil || after == nil {
			return err
		}
		return putSigningKeys(txn, after)
	}}, func(*durable.Turn) error {
		if s.onChange != nil {
			s.onChange(apikey.Outcome{SigningKeys: true, Unchanged: true})
		}
		return nil
	})
}

// replaySigningKeys writes the record as the fleet has it.
func replaySigningKeys(txn *transaction, record apikey.Record) error {
	switch {
	case record.ID != apikey.SigningKeysID:
		return errors.New("it has an invalid id")
	case record.Value == nil:
		return eraseSigningKeys(txn)
	}
	return putSigningKeys(txn, record.Value)
}
