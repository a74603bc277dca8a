package durable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// Txn is a transaction. It is valid until the function that it was passed to
// returns, and not safe for concurrent use.
//
// An error during an iteration ends it. View, Update or Note then return that
// error, even if the function returns nil.
type Txn struct {
	badger     *badger.Txn
	unexamined *unexamined // nil if all tables have been examined
	writes     []journal.Write
	madeAt     time.Time
	err        error // of an iteration
}

// txn returns a transaction of Badger's as one of this package's.
func (db *DB) txn(of *badger.Txn) *Txn {
	return &Txn{badger: of, unexamined: db.unexamined.Load()}
}

// check examines the tables that have to be read to find the keys from one to another:
// see unexamined.check.
func (t *Txn) check(from, to []byte, ahead int) error {
	if t.unexamined == nil {
		return nil
	}
	return t.unexamined.check(from, to, ahead)
}

// result returns the error of a transaction whose function has returned err.
func (t *Txn) result(err error) error {
	if t.err == nil {
		return err
	}
	return errors.Join(err, t.err)
}

// Get returns the value of a key, or [ErrNotFound].
func (t *Txn) Get(key []byte) ([]byte, error) {
	if err := t.check(key, key, 0); err != nil {
		return nil, err
	}
	item, err := t.badger.Get(key)
	if err != nil {
		return nil, ownError(err)
	}
	return item.ValueCopy(nil)
}

// Set writes a value. The caller must not modify the key or the value afterwards.
func (t *Txn) Set(key, value []byte) error {
	t.writes = append(t.writes, journal.Write{Key: key, Value: value})
	return ownError(t.badger.Set(key, value))
}

// Delete deletes a key. The caller must not modify it afterwards.
func (t *Txn) Delete(key []byte) error {
	t.writes = append(t.writes, journal.Write{Key: key, Delete: true})
	return ownError(t.badger.Delete(key))
}

// MadeAt sets the time of a change in the journal, in place of the current time.
// After a rebuild, [RebuiltFrom] has the latest.
func (t *Txn) MadeAt(at time.Time) { t.madeAt = at }

// Below returns the keys with a prefix, in order, and their values. Both are valid
// until the next step. A transaction that writes can have only one open iterator.
func (t *Txn) Below(prefix []byte) iter.Seq2[[]byte, []byte] {
	return t.each(badger.IteratorOptions{Prefix: prefix}, prefix, func([]byte) bool { return true })
}

// Between is like Below, for the keys from one, inclusive, to another, exclusive.
func (t *Txn) Between(from, to []byte) iter.Seq2[[]byte, []byte] {
	return t.each(badger.IteratorOptions{Prefix: commonPrefix(from, to)}, from, func(key []byte) bool { return bytes.Compare(key, to) < 0 })
}

// Backwards is like Below, from the last key to the first. If before is not nil, it
// has the prefix too, and iteration starts with the last key that precedes it.
func (t *Txn) Backwards(prefix, before []byte) iter.Seq2[[]byte, []byte] {
	start := before
	if start == nil {
		start = append(bytes.Clone(prefix), 0xff)
	}
	all := t.each(badger.IteratorOptions{Prefix: prefix, Reverse: true}, start, func([]byte) bool { return true })
	return func(yield func(key, value []byte) bool) {
		for key, value := range all {
			if !bytes.Equal(key, before) && !yield(key, value) {
				return
			}
		}
	}
}

// each iterates from a key on, for as long as wanted returns true.
func (t *Txn) each(o badger.IteratorOptions, from []byte, wanted func(key []byte) bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		it := t.badger.NewIterator(o)
		defer it.Close()
		steps := stepper{it: it, of: o, unexamined: t.unexamined}
		for steps.seek(from); steps.valid() && wanted(it.Item().Key()); steps.next() {
			value, err := valueOf(it.Item())
			if err != nil {
				t.err = errors.Join(t.err, err)
				return
			}
			if !yield(it.Item().Key(), value) {
				return
			}
		}
		t.err = errors.Join(t.err, steps.err)
	}
}

// valueOf returns an item's value, which is valid until its iterator moves on. (A
// value in Badger's value log would not stay valid for as long, but no transaction
// here is large enough to write one.)
func valueOf(item *badger.Item) (value []byte, err error) {
	err = item.Value(func(v []byte) error { value = v; return nil })
	if err != nil {
		err = fmt.Errorf("reading %q: %w", item.Key(), err)
	}
	return value, err
}

// commonPrefix returns the longest common prefix of two keys.
func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// load decodes a JSON value into a record, or returns [ErrNotFound].
func load(txn *Txn, key []byte, record any) error {
	value, err := txn.Get(key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(value, record); err != nil {
		return fmt.Errorf("decoding %q: %w", key, err)
	}
	return nil
}

func save(txn *Txn, key []byte, record any) error {
	value, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("encoding %q: %w", key, err)
	}
	return txn.Set(key, value)
}
