package store

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"
)

// beginMigration says at once that the store has schema 2: a version that knows
// only the first must not change keys whose endings are written already.
func beginMigration(txn *transaction) error {
	return errors.Join(save(txn, schemaKey, 2), txn.Set(migratedKey, nil))
}

const (
	// migratedAtOnce bounds the keys that one transaction migrates: each takes
	// three writes of the ten thousand that it can hold.
	migratedAtOnce = 1000
	// migratedPerReport is after how many keys it is logged how many they are.
	migratedPerReport = 100 * migratedAtOnce
)

// migrate writes the endings of the keys that schema 1 has kept, and goes on
// where the last attempt was interrupted.
func (s *Store) migrate() error {
	for n := 0; ; {
		if err := s.enoughSpace(); err != nil {
			return err
		}
		some, done, err := s.migrateSome()
		if err != nil {
			return fmt.Errorf("bringing it to schema 2: %w", err)
		}
		n += some
		if n > 0 && (done || n%migratedPerReport == 0) {
			s.log.Info("bringing the key store to a new schema", zap.String("path", s.path), zap.Int("schema", 2), zap.Int("keys", n), zap.Bool("done", done))
		}
		if done {
			return nil
		}
	}
}

// migrateSome migrates the next keys, if any are left, and notes in the same
// transaction how far it has come.
func (s *Store) migrateSome() (n int, done bool, err error) {
	err = s.unjournaled(func(txn *transaction) error {
		last, err := migratedSoFar(txn)
		if errors.Is(err, badger.ErrKeyNotFound) {
			done = true
			return nil
		}
		if err != nil {
			return err
		}
		n, last, err = s.migrateAfter(txn, last)
		if err != nil {
			return err
		}
		if done = n < migratedAtOnce; done {
			return txn.Delete(migratedKey)
		}
		return txn.Set(migratedKey, []byte(last))
	})
	return n, done, err
}

func migratedSoFar(txn reader) (keyID string, err error) {
	item, err := txn.Get(migratedKey)
	if err != nil {
		return "", err
	}
	err = item.Value(func(value []byte) error {
		keyID = string(value)
		return nil
	})
	return keyID, err
}

func (s *Store) migrateAfter(txn *transaction, keyID string) (n int, last string, err error) {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: recordKey("")})
	defer it.Close()
	for it.Seek(append(recordKey(keyID), 0)); it.Valid() && n < migratedAtOnce; it.Next() {
		n, last = n+1, string(it.Item().Key()[len(recordKey("")):])
		key, err := decodeKey(it.Item())
		if err != nil {
			// Its token is refused, and it cannot be changed: nothing counts on it.
			s.log.Error("a damaged record of a key stays out of the new schema", zap.String("path", s.path), zap.Error(err))
			continue
		}
		if err := addEnding(txn, key.ID, endingOf(key)); err != nil {
			return 0, "", err
		}
	}
	return n, last, nil
}
