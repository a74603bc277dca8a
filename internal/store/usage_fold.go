package store

import (
	"bytes"
	"context"
	"slices"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// foldedAtOnce is how many keys' records are written together.
const foldedAtOnce = 1000

// foldUsage moves what was counted of late into the records of the keys.
func (s *Store) foldUsage(ctx context.Context) error {
	s.recent.writing.Lock()
	defer s.recent.writing.Unlock()
	return s.wrapInternal(s.foldRecent(ctx))
}

// foldRecent is foldUsage for who holds the lock. It is all there to be read at any time,
// and if it fails, it is there to be moved again.
func (s *Store) foldRecent(ctx context.Context) error {
	r := &s.recent
	for one := range r.totals {
		if err := s.foldDay(ctx, one); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(r.names, usageAtOnce) {
		if err := s.db.Note(func(txn *durable.Txn) error { return deleteAll(txn, some) }); err != nil {
			return err
		}
	}
	r.names, r.size, r.left = nil, 0, false
	r.mu.Lock()
	defer r.mu.Unlock()
	r.totals = nil
	return nil
}

// foldDay moves the totals of a day into the records.
func (s *Store) foldDay(ctx context.Context, one countedDay) error {
	s.recent.mu.RLock()
	ids := s.recent.totals[one].keys()
	s.recent.mu.RUnlock()
	slices.SortFunc(ids, func(a, b apikey.KeyIDBytes) int { return bytes.Compare(a[:], b[:]) }) // Badger is faster if they are in order
	pacer := s.db.Pacer(ctx)
	for some := range slices.Chunk(ids, foldedAtOnce) {
		names, values, err := s.folded(pacer, one, some)
		if err != nil {
			return err
		}
		if err := s.db.NoteAll(func(set func(key, value []byte) error) error {
			for i, name := range names {
				if err := set(name, values[i]); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// folded returns the records of some keys with their totals of a day, as far as they do not
// have them yet.
func (s *Store) folded(pacer *durable.Pacer, one countedDay, ids []apikey.KeyIDBytes) (names, values [][]byte, err error) {
	s.recent.mu.RLock()
	totals := make([]apikey.Usage, len(ids))
	for i, id := range ids {
		totals[i], _ = s.recent.totals[one].of(id)
	}
	s.recent.mu.RUnlock()
	err = s.db.View(func(txn *durable.Txn) error {
		for i, id := range ids {
			name := usageName(one, id.String())
			record, err := usageRecordAt(txn, name)
			if err != nil {
				return err
			}
			known := &record[one.day%periodDays]
			if latest := known.Latest(totals[i]); latest != *known {
				*known = latest
				names, values = append(names, name), append(values, record.encode())
			}
			if err := pacer.Step(); err != nil {
				return err
			}
		}
		return nil
	})
	return names, values, err
}
