package store

import (
	"bytes"

	"github.com/dgraph-io/badger/v4"
)

// stepsBeforeSeek is how many records are passed over before the one wanted is
// sought.
const stepsBeforeSeek = 10

// cursor finds one record after the other. Where they are asked for in the order
// of their keys, to go from one to the next costs far less than to look each up.
type cursor struct{ it *badger.Iterator }

// newCursor returns a cursor for the records below a prefix. It is to be closed.
func newCursor(txn reader, prefix []byte) cursor {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	it.Rewind()
	return cursor{it}
}

func (c cursor) close() { c.it.Close() }

// at returns the record that a key has, nil if there is none. It holds until the
// next call.
func (c cursor) at(key []byte) *badger.Item {
	for n := 0; n < stepsBeforeSeek && c.compare(key) < 0; n++ {
		c.it.Next()
	}
	if c.compare(key) != 0 {
		c.it.Seek(key)
	}
	if c.compare(key) != 0 {
		return nil
	}
	return c.it.Item()
}

// compare tells whether the record that has been reached comes before a key, is
// the key's, or comes after it.
func (c cursor) compare(key []byte) int {
	if !c.it.Valid() {
		return 1
	}
	return bytes.Compare(c.it.Item().Key(), key)
}
