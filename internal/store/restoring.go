package store

import (
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// restoring is a restore that has been started.
type restoring struct {
	MadeAt   millis `json:"made_at"` // its backup
	WasEmpty bool   `json:"was_empty,omitzero"`
}

func restoringNow(txn reader) (r restoring, err error) {
	if err = load(txn, restoringKey, &r); errors.Is(err, durable.ErrNotFound) {
		return restoring{}, nil
	}
	return r, err
}

// Restoring returns the time of the backup whose restore was started but has not
// finished; the zero time if there is none.
func (s *Store) Restoring() (madeAt time.Time, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := restoringNow(txn)
		madeAt = r.MadeAt.time()
		return err
	})
	return madeAt, err
}

// wasEmpty reports whether the store has no keys, apart from those of an unfinished
// restore into an empty store.
func (s *Store) wasEmpty() (empty bool, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := restoringNow(txn)
		if err != nil || r.WasEmpty {
			empty = r.WasEmpty
			return err
		}
		empty = !hasKeys(txn)
		return nil
	})
	return empty, err
}
