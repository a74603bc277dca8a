package durable

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// What the database has of itself. Its owner keeps other keys.
var (
	schemaKey    = []byte("m/schema")  // the schema's version, in decimal
	journaledKey = []byte("m/journal") // the position in the journal of the last change
	baseKey      = []byte("m/base")    // baseRecord, of the last snapshot that was begun
)

// isNote reports whether a key may be changed without the journal.
func (db *DB) isNote(key []byte) bool {
	switch string(key) {
	case string(schemaKey), string(journaledKey), string(baseKey):
		return true
	}
	return slices.ContainsFunc(db.options.Notes, func(prefix string) bool { return strings.HasPrefix(string(key), prefix) })
}

// errForeign says that there is something, but not what a database begins with.
var errForeign = errors.New("it is a Badger database of another program: choose another path")

// schema returns the version of the schema; 0 where there is nothing at all.
func (db *DB) schema() (version int, err error) {
	err = db.view(func(txn *Txn) error {
		err := load(txn, schemaKey, &version)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		for range txn.Below(nil) {
			return errForeign
		}
		return nil
	})
	if known := db.options.Schema; err == nil && version != 0 && version != known {
		err = fmt.Errorf("it has schema %d, and this version reads schema %d: use the version that wrote it; to leave that version, take a backup with it, and restore the backup into an empty directory", version, known)
	}
	return version, err
}

// markSchema says which schema a new database has.
func (db *DB) markSchema(txn *Txn) error {
	return txn.Set(schemaKey, []byte(strconv.Itoa(db.options.Schema)))
}
