package store

import (
	"bytes"
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// refoldNames moves current keys to the lists of their names, if those were folded by
// other data than this build has: a newer Unicode knows more characters that look
// alike. Otherwise a key would never leave the list that it is in, and its name could
// be given to another.
func (s *Store) refoldNames() error {
	data, before := apikey.FoldData(), ""
	var confirmed millis
	if err := s.db.View(func(txn *durable.Txn) (err error) {
		confirmed, err = confirmedTime(txn)
		return errors.Join(err, loadIfThere(txn, namesKey, &before))
	}); err != nil || before == data {
		return err
	}
	if !s.Made() {
		s.log.Info("updating the index of key names to this version's Unicode data", zap.String("path", s.Path()))
	}
	for from := []byte("n/"); from != nil; {
		if err := s.db.Change(context.Background(), "", true, func(turn *durable.Turn) error {
			return s.write(turn, confirmed.time(), func(txn *transaction) (err error) {
				from, err = refoldSome(txn, from, confirmed)
				return err
			})
		}); err != nil {
			return err
		}
	}
	return s.db.Note(func(txn *durable.Txn) error { return save(txn, namesKey, data) })
}

// listsAtOnce bounds the lists of one transaction, each of which has a few keys.
const listsAtOnce = 200

// refoldSome moves the keys of some lists, from one on, and returns the list to go on
// from, nil if that was all.
func refoldSome(txn *transaction, from []byte, confirmed millis) (next []byte, err error) {
	var lists [][]byte
	for list := range txn.Between(from, []byte("n0")) { // 0 comes after /
		if len(lists) == listsAtOnce {
			next = bytes.Clone(list)
			break
		}
		lists = append(lists, bytes.Clone(list))
	}
	for _, list := range lists {
		err = errors.Join(err, refoldList(txn, list, confirmed))
	}
	return next, err
}

// refoldList moves the keys of a list that are no longer folded like it. What it
// cannot read is for Check to tell.
func refoldList(txn *transaction, list []byte, confirmed millis) error {
	members, err := membersOf(txn, list)
	if err != nil {
		return nil
	}
	for _, m := range members {
		key, err := keyByID(txn, m.ID)
		if err != nil {
			continue
		}
		if to := nameOf(key); !bytes.Equal(to, list) {
			if err := moveMember(txn, list, to, m, confirmed); err != nil {
				return err
			}
		}
	}
	return nil
}
