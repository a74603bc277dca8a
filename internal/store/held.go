package store

import (
	"errors"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// The keys that a transaction changes share a few counts: the rosters of their
// workspaces, and the tallies of the days and minutes in which they end. The lists of
// their names and families are read, often twice, before they are changed. And for each
// new key, the prefix of its token and the schedule are looked up. So a transaction holds
// what it reads or changes of these in memory, and writes each of them once, at its end.
// It cannot iterate over those that it has changed. The next transaction begins with the
// counts of the last one.

// held are such values in memory: the counts, and all others.
type held struct {
	counts, others heldValues
	changed        []string // the database keys of those that have yet to be written
}

// maxHeld is how many counts are kept for the next transaction.
const maxHeld = 1000

// lastCounts are the counts that the last transaction held. Only the holder of the turn may
// use them.
type lastCounts struct {
	values heldValues
	after  uint64 // the number of its change
}

// take returns the counts, if they are still right: if nothing has been changed since. If
// the transaction that takes them fails, they no longer are.
func (c *lastCounts) take(after uint64) (values heldValues) {
	if c.after == after {
		values = c.values
	}
	*c = lastCounts{}
	return values
}

// keep keeps the counts of a transaction that was committed as the change with that number,
// up to so many.
func (c *lastCounts) keep(values heldValues, after uint64, most int) {
	if len(values) <= most {
		*c = lastCounts{values, after}
	}
}

// heldValues are values by database key.
type heldValues map[string]heldValue

type heldValue struct {
	value   []byte
	there   bool // in the database, or about to be
	changed bool
}

// of returns the values that one with this key is among, or nil if it is not held.
func (h *held) of(key []byte) heldValues {
	if len(key) < 2 || key[1] != '/' {
		return nil
	}
	switch key[0] {
	case 'q', 'c':
		if h.counts == nil {
			h.counts = make(heldValues)
		}
		return h.counts
	case 'n', 'r', 'p', 'l':
		if h.others == nil {
			h.others = make(heldValues)
		}
		return h.others
	}
	return nil
}

// Get returns the value of a key, or [durable.ErrNotFound].
func (t *transaction) Get(key []byte) ([]byte, error) {
	values := t.held.of(key)
	if values == nil {
		return t.Txn.Get(key)
	}
	v, known := values[string(key)]
	if !known {
		value, err := t.Txn.Get(key)
		if err != nil && !errors.Is(err, durable.ErrNotFound) {
			return nil, err
		}
		v = heldValue{value: value, there: err == nil}
		values[string(key)] = v
	}
	if !v.there {
		return nil, durable.ErrNotFound
	}
	return v.value, nil
}

// Set writes a value. The caller must not modify the key or the value afterwards.
func (t *transaction) Set(key, value []byte) error {
	values := t.held.of(key)
	if values == nil {
		return t.Txn.Set(key, value)
	}
	t.held.change(values, string(key), heldValue{value: value, there: true})
	return nil
}

// Delete deletes a key. The caller must not modify it afterwards.
func (t *transaction) Delete(key []byte) error {
	values := t.held.of(key)
	if values == nil {
		return t.Txn.Delete(key)
	}
	t.held.change(values, string(key), heldValue{})
	return nil
}

func (h *held) change(values heldValues, key string, v heldValue) {
	if !values[key].changed {
		h.changed = append(h.changed, key)
	}
	v.changed = true
	values[key] = v
}

// writeHeld writes what has changed.
func (t *transaction) writeHeld() (err error) {
	for _, text := range t.held.changed {
		key := []byte(text)
		values := t.held.of(key)
		v := values[text]
		if v.there {
			err = t.Txn.Set(key, v.value)
		} else {
			err = t.Txn.Delete(key)
		}
		if err != nil {
			return err
		}
		v.changed = false
		values[text] = v
	}
	t.held.changed = nil
	return nil
}
