package durable

import (
	"bytes"
	"errors"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// marks are what Badger has recorded of its place in the journal.
type marks struct {
	position journal.Position // of the last change that it has
	base     baseRecord       // as of the last snapshot that was started
}

// mark records in a transaction that Badger has the changes up to a position.
func mark(txn *Txn, p journal.Position) error {
	return ownError(txn.badger.Set(journaledKey, []byte(p.String()))) // not Txn.Set: the journal does not contain it
}

func (db *DB) marks() (m marks, err error) {
	err = db.view(func(txn *Txn) error {
		position, err := txn.Get(journaledKey)
		if err == nil {
			m.position, err = journal.ParsePosition(string(position))
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		m.base, err = loadBase(txn)
		return err
	})
	return m, err
}

func loadBase(txn *Txn) (base baseRecord, err error) {
	err = load(txn, baseKey, &base)
	if errors.Is(err, ErrNotFound) {
		return baseRecord{}, nil
	}
	return base, err
}

// maxReplayWrites and maxReplayBytes bound one replay transaction, which can hold
// 1.2 MB and some ten thousand writes.
const (
	maxReplayWrites = 1000
	maxReplayBytes  = 256 << 10
)

// replay applies the changes that the journal has and Badger lacks.
func (db *DB) replay(tail *journal.Tail) error {
	missing, err := db.missing(tail.InOrder())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		db.repair(Repair{Kind: Replayed, Records: len(missing)})
	}
	if err := db.apply(missing); err != nil {
		return err
	}
	return db.note(func(txn *Txn) error { return mark(txn, db.journal.End()) })
}

// missing returns the writes whose results cannot be read back.
func (db *DB) missing(writes []journal.Write) (missing []journal.Write, err error) {
	err = db.view(func(txn *Txn) (err error) {
		missing, err = missingIn(txn, writes)
		return err
	})
	return missing, err
}

func missingIn(txn *Txn, writes []journal.Write) (missing []journal.Write, err error) {
	for _, w := range writes {
		applied, err := isApplied(txn, w)
		if err != nil {
			return nil, err
		}
		if !applied {
			missing = append(missing, w)
		}
	}
	return missing, nil
}

// isApplied reports whether a write's result can be read back.
func isApplied(txn *Txn, w journal.Write) (bool, error) {
	value, err := txn.Get(w.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		return w.Delete, nil
	case err != nil:
		return false, err
	}
	return !w.Delete && bytes.Equal(value, w.Value), nil
}

// apply applies writes that the journal already has.
func (db *DB) apply(writes []journal.Write) error {
	for len(writes) > 0 {
		n, size := 0, 0
		for n < min(len(writes), maxReplayWrites) && size < maxReplayBytes {
			size += len(writes[n].Key) + len(writes[n].Value)
			n++
		}
		if err := db.enoughSpace(); err != nil {
			return err
		}
		err := db.note(func(txn *Txn) (err error) {
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
