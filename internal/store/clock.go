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
		mark, err = clockMark(txn)
		return err
	})
	return mark, err
}

func clockMark(txn reader) (time.Time, error) {
	var m millis
	err := load(txn, clockKey, &m)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	return m.time(), err
}

// jump is how far ahead of the mark a time is that nobody can have come to by
// waiting: the mark is set far more often.
const jump = 10 * time.Minute

// believed returns the time by which keys have ended for good: now, or the mark
// where the clock has been set forward. Once it is set right, the keys that only
// seemed to have ended go on, and want their names.
func believed(txn reader, now time.Time) (time.Time, error) {
	mark, err := clockMark(txn)
	if err != nil || mark.IsZero() || now.Sub(mark) <= jump {
		return now, err
	}
	return mark, nil
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
	s.changes.Lock() // a change may have read the mark
	defer s.changes.Unlock()
	return s.refine(s.unjournaled(func(txn *transaction) error { return save(txn, clockKey, toMillis(mark)) }))
}
