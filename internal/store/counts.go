package store

import (
	"bytes"
	"errors"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// The keys that a transaction changes share a few counts: the rosters of their
// workspaces, and the tallies of the days and minutes in which they end. So a
// transaction holds the counts that it reads or changes in memory, and writes each of
// them once, at its end. It cannot iterate over them.

// heldCounts are the counts that a transaction holds, by database key.
type heldCounts map[string]heldCount

type heldCount struct {
	value   []byte
	there   bool // in the database, or about to be
	changed bool // it has yet to be written
}

func isCount(key []byte) bool {
	return bytes.HasPrefix(key, []byte("q/")) || bytes.HasPrefix(key, []byte("c/"))
}

// Get returns the value of a key, or [durable.ErrNotFound].
func (t *transaction) Get(key []byte) ([]byte, error) {
	if !isCount(key) {
		return t.Txn.Get(key)
	}
	count, held := t.counts[string(key)]
	if !held {
		value, err := t.Txn.Get(key)
		if err != nil && !errors.Is(err, durable.ErrNotFound) {
			return nil, err
		}
		count = heldCount{value: value, there: err == nil}
		t.hold(key, count)
	}
	if !count.there {
		return nil, durable.ErrNotFound
	}
	return count.value, nil
}

// Set writes a value. The caller must not modify the key or the value afterwards.
func (t *transaction) Set(key, value []byte) error {
	if !isCount(key) {
		return t.Txn.Set(key, value)
	}
	t.hold(key, heldCount{value: value, there: true, changed: true})
	return nil
}

// Delete deletes a key. The caller must not modify it afterwards.
func (t *transaction) Delete(key []byte) error {
	if !isCount(key) {
		return t.Txn.Delete(key)
	}
	t.hold(key, heldCount{changed: true})
	return nil
}

func (t *transaction) hold(key []byte, count heldCount) {
	if t.counts == nil {
		t.counts = make(heldCounts)
	}
	t.counts[string(key)] = count
}

// writeCounts writes the counts that have changed.
func (t *transaction) writeCounts() (err error) {
	for key, count := range t.counts {
		switch {
		case !count.changed:
			continue
		case count.there:
			err = t.Txn.Set([]byte(key), count.value)
		default:
			err = t.Txn.Delete([]byte(key))
		}
		if err != nil {
			return err
		}
		count.changed = false
		t.counts[key] = count
	}
	return nil
}
