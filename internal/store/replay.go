package store

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// marks are what Badger has of the journal.
type marks struct {
	position journal.Position // of the last change that is in it
	base     baseRecord       // of the last snapshot that was begun
}

// mark notes that a change is in Badger.
func mark(txn *transaction, p journal.Position) error {
	return txn.Txn.Set(journaledKey, []byte(p.String()))
}

func (s *Store) marks() (m marks, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		item, err := txn.Get(journaledKey)
		if err == nil {
			err = item.Value(func(value []byte) (err error) {
				m.position, err = journal.ParsePosition(string(value))
				return err
			})
		}
		if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		m.base, err = loadBase(txn)
		return err
	})
	return m, err
}

func loadBase(txn reader) (base baseRecord, err error) {
	err = load(txn, baseKey, &base)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return baseRecord{}, nil
	}
	return base, err
}

// replayedAtOnce bounds the writes that one transaction replays, and
// replayedBytesAtOnce how large they are: it can hold 1.2 MB and some ten
// thousand writes.
const (
	replayedAtOnce      = 1000
	replayedBytesAtOnce = 256 << 10
)

// replay writes again what the journal has and Badger does not.
func (s *Store) replay(tail *journal.Tail) error {
	missing, err := s.missing(tail.InOrder())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		s.log.Warn("the files of the key store had lost changes, which its journal has: they are made again",
			zap.String("path", s.path), zap.Int("records", len(missing)))
	}
	if err := s.rewrite(missing); err != nil {
		return err
	}
	return s.unjournaled(func(txn *transaction) error { return mark(txn, s.journal.End()) })
}

// missing returns those of the writes that cannot be read back.
func (s *Store) missing(writes []journal.Write) (missing []journal.Write, err error) {
	err = s.db.View(func(txn *badger.Txn) (err error) {
		missing, err = missingIn(txn, writes)
		return err
	})
	return missing, err
}

func missingIn(txn reader, writes []journal.Write) (missing []journal.Write, err error) {
	for _, w := range writes {
		there, err := has(txn, w)
		if err != nil {
			return nil, err
		}
		if !there {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// has reports whether what can be read is what was written.
func has(txn reader, w journal.Write) (bool, error) {
	item, err := txn.Get(w.Key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return w.Delete, nil
	}
	if err != nil || w.Delete {
		return false, err
	}
	return holds(item, w.Value)
}

// holds reports whether there is a record, and it has a value.
func holds(item *badger.Item, value []byte) (same bool, err error) {
	if item == nil {
		return false, nil
	}
	err = item.Value(func(found []byte) error {
		same = bytes.Equal(found, value)
		return nil
	})
	return same, err
}

// rewrite makes writes that are in the journal.
func (s *Store) rewrite(writes []journal.Write) error {
	for len(writes) > 0 {
		n, size := 0, 0
		for n < min(len(writes), replayedAtOnce) && size < replayedBytesAtOnce {
			size += len(writes[n].Key) + len(writes[n].Value)
			n++
		}
		if err := s.enoughSpace(); err != nil {
			return err
		}
		err := s.unjournaled(func(txn *transaction) (err error) {
			for _, w := range writes[:n] {
				if w.Delete {
					err = errors.Join(err, txn.Delete(w.Key))
				} else {
					err = errors.Join(err, txn.Set(w.Key, w.Value))
				}
			}
			return err
		})
		if err != nil {
			return err
		}
		writes = writes[n:]
	}
	return nil
}

// schema returns the version of the schema; 0 where nothing is in the store.
func (s *Store) schema() (version int, err error) {
	err = s.db.View(func(txn *badger.Txn) error {
		err := load(txn, schemaKey, &version)
		if !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if it.Rewind(); it.Valid() {
			return errors.New("it is a Badger database of something else: choose another path")
		}
		return nil
	})
	switch {
	case err != nil || version == 0 || version == schemaVersion:
		return version, err
	case version > 0 && version < schemaVersion:
		return 0, fmt.Errorf("it has schema %d, of a version from before the first release, and this version reads schema %d: take a backup with that version, and restore it into an empty directory", version, schemaVersion)
	}
	return 0, fmt.Errorf("it has schema %d, and this version knows schema %d: use the version that wrote it, or a newer one", version, schemaVersion)
}

// markNew says which schema a new store has.
func markNew(txn *transaction) error {
	return txn.Set(schemaKey, []byte(strconv.Itoa(schemaVersion)))
}
