package durable

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The keys that this package itself uses. The owner's keys are others.
var (
	schemaKey    = []byte("m/schema")  // the schema's version, in decimal
	journaledKey = []byte("m/journal") // the position in the journal of the last change
	baseKey      = []byte("m/base")    // baseRecord, of the last snapshot that was begun
	provenKey    = []byte("m/proven")  // provenRecord
)

// isNote reports whether a key may be written without the journal.
func (db *DB) isNote(key []byte) bool {
	switch string(key) {
	case string(schemaKey), string(journaledKey), string(baseKey), string(provenKey):
		return true
	}
	return slices.ContainsFunc(db.options.Notes, func(prefix string) bool { return strings.HasPrefix(string(key), prefix) })
}

// errForeign is returned for a Badger database that has keys but no schema version.
var errForeign = errors.New("it is a Badger database of another program: choose another path")

// schema returns the schema version, or 0 for an empty database.
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

// markSchema writes the schema version of a new database.
func (db *DB) markSchema(txn *Txn) error {
	return txn.Set(schemaKey, []byte(strconv.Itoa(db.options.Schema)))
}
