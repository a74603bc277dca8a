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

// Txn is a transaction. It may be used until the function that it was handed to
// returns, by one goroutine.
//
// An error while it iterates ends the iteration, and is what View, Update or Note
// return in the end, whatever that function returns.
type Txn struct {
	badger *badger.Txn
	writes []journal.Write
	madeAt time.Time
	err    error // of an iteration
}

// result returns the error that a transaction ends with, given what its function has
// returned.
func (t *Txn) result(err error) error {
	if t.err == nil {
		return err
	}
	return errors.Join(err, t.err)
}

// Get returns the value of a key, or [ErrNotFound].
func (t *Txn) Get(key []byte) ([]byte, error) {
	item, err := t.badger.Get(key)
	if err != nil {
		return nil, ownError(err)
	}
	return item.ValueCopy(nil)
}

// Set writes a value. Neither it nor the key may be changed afterwards.
func (t *Txn) Set(key, value []byte) error {
	t.writes = append(t.writes, journal.Write{Key: key, Value: value})
	return ownError(t.badger.Set(key, value))
}

// Delete deletes a key, which may not be changed afterwards.
func (t *Txn) Delete(key []byte) error {
	t.writes = append(t.writes, journal.Write{Key: key, Delete: true})
	return ownError(t.badger.Delete(key))
}

// MadeAt says when a change was made, as far as the journal is concerned: a database
// that is built from it is told of the last such time.
func (t *Txn) MadeAt(at time.Time) { t.madeAt = at }

// Below returns the keys that begin with a prefix, in order, and their values. Both
// hold until the next step. Of a transaction that writes, one iterator may be open at
// a time.
func (t *Txn) Below(prefix []byte) iter.Seq2[[]byte, []byte] {
	return t.each(badger.IteratorOptions{Prefix: prefix}, prefix, func([]byte) bool { return true })
}

// Between returns the keys from one on and before another, like Below.
func (t *Txn) Between(from, to []byte) iter.Seq2[[]byte, []byte] {
	return t.each(badger.IteratorOptions{Prefix: commonPrefix(from, to)}, from, func(key []byte) bool { return bytes.Compare(key, to) < 0 })
}

// Backwards returns the keys that begin with a prefix, the last first, like Below.
// With before, which begins with the prefix too, it begins with the last key before
// that.
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

// each iterates from a key on for as long as wanted says.
func (t *Txn) each(o badger.IteratorOptions, from []byte, wanted func(key []byte) bool) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		it := t.badger.NewIterator(o)
		defer it.Close()
		for it.Seek(from); it.ValidForPrefix(o.Prefix) && wanted(it.Item().Key()); it.Next() {
			value, err := valueOf(it.Item())
			if err != nil {
				t.err = errors.Join(t.err, err)
				return
			}
			if !yield(it.Item().Key(), value) {
				return
			}
		}
	}
}

// valueOf returns the value of an item, which holds until its iterator goes on. (It
// would hold for a shorter time if it were in Badger's value log, where only values
// are that no transaction here has room for.)
func valueOf(item *badger.Item) (value []byte, err error) {
	err = item.Value(func(v []byte) error { value = v; return nil })
	if err != nil {
		err = fmt.Errorf("reading %q: %w", item.Key(), err)
	}
	return value, err
}

// commonPrefix returns what two keys both begin with.
func commonPrefix(a, b []byte) []byte {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// load decodes a value of JSON into a record, or returns [ErrNotFound].
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
