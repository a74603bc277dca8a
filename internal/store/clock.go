package store

import (
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ClockMark returns the time that was last given to SetClockMark, or the zero
// time.
func (s *Store) ClockMark() (mark time.Time, err error) {
	err = s.view(func(txn *badger.Txn) error {
		var m millis
		err := load(txn, clockKey, &m)
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		mark = m.time()
		return err
	})
	return mark, err
}

// SetClockMark remembers a time across restarts.
func (s *Store) SetClockMark(mark time.Time) error {
	if s == nil {
		return apikey.ErrStoreUnavailable
	}
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return apikey.ErrStoreUnavailable
	}
	if err := s.writable(); err != nil {
		return err
	}
	return s.refine(s.db.Update(func(txn *badger.Txn) error { return save(txn, clockKey, toMillis(mark)) }))
}
