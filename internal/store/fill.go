package store

import (
	"context"
	"errors"
	"iter"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// filledAtOnce bounds the keys that Fill adds in one transaction, which can hold
// 1.2 MB.
const filledAtOnce = 250

// Fill makes many keys, each with its event as Apply does, but hundreds in a
// transaction and without asking whether a name is taken: for a store that
// nobody else uses yet. If it fails, some of them may have been made. Keys are
// made in the order of their ids. In the end, a snapshot takes their place in the
// journal.
func (s *Store) Fill(ctx context.Context, actor string, keys iter.Seq[apikey.Key]) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return apikey.ErrStoreUnavailable
	}

	var batch []apikey.Key
	for key := range keys {
		if batch = append(batch, key); len(batch) < filledAtOnce {
			continue
		}
		if err := s.fill(ctx, actor, batch); err != nil {
			return err
		}
		batch = batch[:0]
	}
	if err := s.fill(ctx, actor, batch); err != nil {
		return err
	}
	err := s.renewJournal(ctx)
	for errors.Is(err, errUnsettled) && ctx.Err() == nil { // on a busy machine
		err = s.renewJournal(ctx)
	}
	return s.refine(err)
}

func (s *Store) fill(ctx context.Context, actor string, keys []apikey.Key) error {
	if len(keys) == 0 {
		return nil
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.mayChange(ctx, false); err != nil {
		return err
	}
	return s.refine(s.write(keys[0].CreatedAt, func(txn *transaction) error {
		for i := range keys {
			key := &keys[i]
			change := apikey.Change{EventID: apikey.NewEventID(key.CreatedAt), At: key.CreatedAt, Actor: actor, Do: apikey.Create{Key: *key}}
			if err := insert(txn, key); err != nil {
				return err
			}
			if err := record(txn, eventOf(change, created(key))); err != nil {
				return err
			}
		}
		return nil
	}))
}
