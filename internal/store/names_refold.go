package store

import (
	"bytes"
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// The lists of keys by name depend on the data that a build folds names with: newer
// Unicode data has more characters that look alike. If a store was written by a build
// with other data, its lists are updated in the background. Until that is done, a name
// that is folded differently now could be given to a second key, and keys that end may
// stay in their lists.

// foldedNames reports whether the lists were made with this build's data.
func foldedNames(txn reader) (bool, error) {
	var data string
	err := loadIfThere(txn, namesKey, &data)
	return data == apikey.FoldData(), err
}

func noteFoldedNames(txn *durable.Txn) error { return save(txn, namesKey, apikey.FoldData()) }

// refoldNames moves current keys to the lists where they belong by this build's data,
// unless they are known to be there.
func (s *Store) refoldNames(ctx context.Context) {
	folded := false
	err := s.db.View(func(txn *durable.Txn) (err error) {
		folded, err = foldedNames(txn)
		return err
	})
	if err == nil && !folded {
		s.log.Info("updating the index of key names to this version's Unicode data", zap.String("path", s.Path()))
		err = s.refoldAll(ctx)
	}
	if err != nil && ctx.Err() == nil {
		s.log.Error("updating the index of key names failed: the next start tries again", zap.String("path", s.Path()), zap.Error(err))
	}
}

func (s *Store) refoldAll(ctx context.Context) error {
	pacer := s.db.Pacer(ctx)
	for from := []byte("n/"); from != nil; {
		err := s.db.Change(ctx, "", false, func(turn *durable.Turn) (err error) {
			from, err = s.refoldSome(turn, from)
			return err
		})
		if err := errors.Join(err, pacer.Rest()); err != nil {
			return err
		}
	}
	return s.db.Note(noteFoldedNames)
}

// listsAtOnce is the maximum number of lists that one transaction goes through.
const listsAtOnce = 200

// refoldSome goes through some lists, starting with from, and returns the list to
// continue from, nil if there are no more.
func (s *Store) refoldSome(turn *durable.Turn, from []byte) (next []byte, err error) {
	var confirmed millis
	if err := turn.View(func(txn *durable.Txn) (err error) {
		confirmed, err = confirmedTime(txn)
		return err
	}); err != nil {
		return nil, err
	}
	err = s.write(turn, confirmed.time(), func(txn *transaction) error {
		var lists [][]byte
		for list := range txn.Between(from, []byte("n0")) { // 0 comes after /
			if len(lists) == listsAtOnce {
				next = bytes.Clone(list)
				break
			}
			lists = append(lists, bytes.Clone(list))
		}
		var err error
		for _, list := range lists {
			err = errors.Join(err, refoldList(txn, list, confirmed))
		}
		return err
	})
	return next, err
}

// refoldList moves the keys of a list that do not belong there. It skips what it cannot
// read, which Check reports.
func refoldList(txn *transaction, list []byte, confirmed millis) error {
	members, err := membersOf(txn, list)
	if err != nil {
		return nil
	}
	for _, m := range members {
		var to []byte
		key, err := keyByID(txn, m.ID)
		switch {
		case errors.Is(err, durable.ErrNotFound): // it has been deleted
		case err != nil:
			continue
		case isCurrent(key, confirmed):
			m, to = memberOf(key), nameOf(key)
		}
		if bytes.Equal(to, list) {
			continue
		}
		if err := moveMember(txn, list, to, m, confirmed); err != nil {
			return err
		}
	}
	return nil
}
