package durable

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// stepsBeforeSeek is how many keys a cursor steps over before it seeks.
const stepsBeforeSeek = 10

// Cursor looks up one key after another. If they are in order, stepping from one to
// the next is far cheaper than looking up each.
type Cursor struct {
	txn *Txn
	it  *badger.Iterator
	// sought is what was looked up last: from there to the key that the cursor has
	// reached, there is no other.
	sought []byte
}

// Cursor returns a cursor over the keys with a prefix. The caller closes it.
func (t *Txn) Cursor(prefix []byte) *Cursor {
	it := t.badger.NewIterator(badger.IteratorOptions{Prefix: prefix})
	if t.unexamined == nil {
		it.Rewind()
	}
	return &Cursor{txn: t, it: it, sought: bytes.Clone(prefix)}
}

// Close closes the cursor.
func (c *Cursor) Close() { c.it.Close() }

// At returns the value of a key, and whether it exists. The value is valid until
// the next call.
func (c *Cursor) At(key []byte) (value []byte, found bool) {
	if c.txn.unexamined != nil {
		return c.lookUp(key)
	}
	for n := 0; n < stepsBeforeSeek && c.compare(key) < 0; n++ {
		c.it.Next()
	}
	if c.compare(key) < 0 || bytes.Compare(key, c.sought) < 0 {
		c.it.Seek(key)
	}
	c.sought = append(c.sought[:0], key...)
	if c.compare(key) != 0 {
		return nil, false
	}
	value, err := valueOf(c.it.Item())
	c.txn.err = errors.Join(c.txn.err, err)
	return value, err == nil
}

// lookUp is At while there are tables to examine, of which none is stepped through.
func (c *Cursor) lookUp(key []byte) (value []byte, found bool) {
	value, err := c.txn.Get(key)
	if !errors.Is(err, ErrNotFound) {
		c.txn.err = errors.Join(c.txn.err, err)
	}
	return value, err == nil
}

// compare compares the key that the cursor has reached with another.
func (c *Cursor) compare(key []byte) int {
	if !c.it.Valid() {
		return 1
	}
	return bytes.Compare(c.it.Item().Key(), key)
}
