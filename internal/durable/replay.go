package durable

import (
	"bytes"
	"errors"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// marks are what Badger has of the journal.
type marks struct {
	position journal.Position // of the last change that is in it
	base     baseRecord       // of the last snapshot that was begun
}

// mark notes that a change is in Badger.
func mark(txn *Txn, p journal.Position) error {
	return ownError(txn.badger.Set(journaledKey, []byte(p.String()))) // not in the journal itself
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

// replayedAtOnce bounds the writes that one transaction replays, and
// replayedBytesAtOnce how large they are: it can hold 1.2 MB and some ten
// thousand writes.
const (
	replayedAtOnce      = 1000
	replayedBytesAtOnce = 256 << 10
)

// replay writes again what the journal has and Badger does not.
func (db *DB) replay(tail *journal.Tail) error {
	missing, err := db.missing(tail.InOrder())
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		db.repair(Repair{Kind: Replayed, Records: len(missing)})
	}
	if err := db.rewrite(missing); err != nil {
		return err
	}
	return db.note(func(txn *Txn) error { return mark(txn, db.journal.End()) })
}

// missing returns those of the writes that cannot be read back.
func (db *DB) missing(writes []journal.Write) (missing []journal.Write, err error) {
	err = db.view(func(txn *Txn) (err error) {
		missing, err = missingIn(txn, writes)
		return err
	})
	return missing, err
}

func missingIn(txn *Txn, writes []journal.Write) (missing []journal.Write, err error) {
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
func has(txn *Txn, w journal.Write) (bool, error) {
	value, err := txn.Get(w.Key)
	switch {
	case errors.Is(err, ErrNotFound):
		return w.Delete, nil
	case err != nil:
		return false, err
	}
	return !w.Delete && bytes.Equal(value, w.Value), nil
}

// rewrite makes writes that are in the journal.
func (db *DB) rewrite(writes []journal.Write) error {
	for len(writes) > 0 {
		n, size := 0, 0
		for n < min(len(writes), replayedAtOnce) && size < replayedBytesAtOnce {
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
