package durable

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// stepsBeforeSeek is how many keys are stepped over before the one wanted is sought.
const stepsBeforeSeek = 10

// Cursor finds one key after another. Where they are asked for in their order, to
// step from one to the next costs far less than to look each up.
type Cursor struct {
	txn *Txn
	it  *badger.Iterator
}

// Cursor returns a cursor over the keys that begin with a prefix. It is to be closed.
func (t *Txn) Cursor(prefix []byte) Cursor {
	it := t.badger.NewIterator(badger.IteratorOptions{Prefix: prefix})
	it.Rewind()
	return Cursor{t, it}
}

// Close closes the cursor.
func (c Cursor) Close() { c.it.Close() }

// At returns the value of a key, and whether it has one. The value holds until the
// next call.
func (c Cursor) At(key []byte) (value []byte, found bool) {
	for n := 0; n < stepsBeforeSeek && c.compare(key) < 0; n++ {
		c.it.Next()
	}
	if c.compare(key) != 0 {
		c.it.Seek(key)
	}
	if c.compare(key) != 0 {
		return nil, false
	}
	value, err := valueOf(c.it.Item())
	c.txn.err = errors.Join(c.txn.err, err)
	return value, err == nil
}

// compare says whether the key that has been reached comes before another, is that,
// or comes after it.
func (c Cursor) compare(key []byte) int {
	if !c.it.Valid() {
		return 1
	}
	return bytes.Compare(c.it.Item().Key(), key)
}
