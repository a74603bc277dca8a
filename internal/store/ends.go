package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// The status of a key needs nobody to change it: it expires by itself. So keys
// are not counted by status, but by when they end, which only a change changes.
// How many are active at any time follows from that: those that end later.

// An ending is when a key ends if nobody does anything, and what it is then.
type ending struct {
	at       millis // 0 if it was revoked: it has ended, whatever time it is
	class    int    // its place in classes
	replaced bool   // there is a key that replaces it, active or not
}

// classes are what a key can be when it has ended. Their order is in the store.
var classes = [...]class{
	{apikey.Expired, apikey.FullAccess},
	{apikey.Expired, apikey.ReadOnly},
	{apikey.Revoked, apikey.FullAccess},
	{apikey.Revoked, apikey.ReadOnly},
}

type class struct {
	status apikey.Status
	preset apikey.Preset
}

func endingOf(key *apikey.Key) ending {
	until := key.ActiveUntil()
	if !key.RevokedAt.IsZero() {
		until = time.Time{}
	}
	return ending{
		at:       max(toMillis(until), 0),
		class:    slices.Index(classes[:], class{key.Status(until), key.Preset}),
		replaced: key.ReplacedBy != "",
	}
}

// keep writes the record of a key, new or changed, and moves the key to where it
// belongs in the index of ends.
func keep(txn *transaction, key *apikey.Key) error {
	after := endingOf(key)
	kept, err := keyByID(txn, key.ID)
	switch {
	case errors.Is(err, badger.ErrKeyNotFound):
		err = addEnding(txn, key.ID, after)
	case err == nil:
		err = moveEnding(txn, key.ID, endingOf(kept), after)
	}
	return errors.Join(err, save(txn, recordKey(key.ID), toRecord(key)))
}

func addEnding(txn *transaction, keyID string, e ending) error {
	return errors.Join(txn.Set(endKey(e.at, keyID), e.encode()), count(txn, e, 1))
}

func moveEnding(txn *transaction, keyID string, before, after ending) error {
	if before == after {
		return nil
	}
	return errors.Join(
		txn.Delete(endKey(before.at, keyID)), count(txn, before, -1),
		addEnding(txn, keyID, after),
	)
}

const endPrefix = "e/"

func endKey(at millis, keyID string) []byte { return append(timeKey(endPrefix, at), keyID...) }

// timeKey sorts by time, from 1970 on.
func timeKey(prefix string, at millis) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefix), uint64(at))
}

func (e ending) encode() []byte {
	if e.replaced {
		return []byte{byte(e.class), 1}
	}
	return []byte{byte(e.class), 0}
}

// decodeEnding reads an entry of the index, and whose it is.
func decodeEnding(item *badger.Item) (e ending, keyID string, err error) {
	key := item.Key()[len(endPrefix):]
	err = item.Value(func(value []byte) error {
		if len(key) < 8 || len(value) != 2 || int(value[0]) >= len(classes) {
			return fmt.Errorf("the entry %q in the index of ends is damaged", item.Key())
		}
		e = ending{at: millis(binary.BigEndian.Uint64(key)), class: int(value[0]), replaced: value[1] == 1}
		keyID = string(key[8:])
		return nil
	})
	return e, keyID, err
}

// eachEnding calls visit for every key that ends from one time on and before
// another, in the order of their ends.
func eachEnding(ctx context.Context, txn reader, from, to millis, visit func(e ending, keyID string) error) error {
	return eachFrom(ctx, txn, timeKey(endPrefix, from), timeKey(endPrefix, to), func(item *badger.Item) error {
		e, keyID, err := decodeEnding(item)
		if err != nil {
			return err
		}
		return visit(e, keyID)
	})
}
