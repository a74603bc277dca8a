package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A key's status changes by itself when the key expires. So keys are not counted by
// status but by when they end, which only a change can alter. The number of active keys
// at a given time is that of the keys that end later.

// An ending is when a key ends if it is not changed before, and its status from then
// on.
type ending struct {
	at       millis // 0 if it was revoked: it has ended, regardless of the time
	revoked  millis // when it was revoked
	class    int    // its place in classes
	replaced bool   // another key, active or not, replaces it
}

// status returns the status of the key once it has ended.
func (e ending) status() apikey.Status { return classes[e.class].status }

// classes are what an ended key can be. The store contains indexes into it, so the
// order must not change.
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
		revoked:  max(toMillis(key.RevokedAt), 0),
		class:    slices.Index(classes[:], class{key.Status(until), key.Preset}),
		replaced: key.ReplacedBy != "",
	}
}

// replaceEnding updates the index of ends and the tallies for a key. before is nil for
// a new key, and after for one that is being erased.
func replaceEnding(txn *transaction, before, after *apikey.Key) error {
	if before != nil && after != nil && endingOf(before) == endingOf(after) {
		return nil
	}
	var errs []error
	if before != nil {
		e := endingOf(before)
		errs = append(errs, txn.Delete(endKey(e, before.ID)), count(txn, e, -1))
	}
	if after != nil {
		e := endingOf(after)
		errs = append(errs, txn.Set(endKey(e, after.ID), e.encode()), count(txn, e, 1))
	}
	return errors.Join(errs...)
}

const endPrefix = "e/"

func endKey(e ending, keyID string) []byte {
	key := timeKey(endPrefix, e.at)
	if e.at == 0 {
		key = binary.BigEndian.AppendUint64(key, uint64(e.revoked))
	}
	return append(key, keyID...)
}

// timeKey returns a key that sorts by time, for times from 1970 on.
func timeKey(prefix string, at millis) []byte {
	return binary.BigEndian.AppendUint64([]byte(prefix), uint64(at))
}

func (e ending) encode() []byte {
	if e.replaced {
		return []byte{byte(e.class), 1}
	}
	return []byte{byte(e.class), 0}
}

// decodeEnding decodes an entry of the index, and returns the id of its key.
func decodeEnding(entry, value []byte) (e ending, keyID string, err error) {
	key := entry[len(endPrefix):]
	if len(key) < 8+8 || len(value) != 2 || int(value[0]) >= len(classes) {
		return ending{}, "", fmt.Errorf("the entry %q in the index of ends is damaged", entry)
	}
	e = ending{at: millis(binary.BigEndian.Uint64(key)), class: int(value[0]), replaced: value[1] == 1}
	key = key[8:]
	if e.at == 0 {
		e.revoked, key = millis(binary.BigEndian.Uint64(key)), key[8:]
	}
	return e, string(key), nil
}

// eachEnding calls visit for each key that ends between from, inclusive, and to,
// exclusive, in the order of their ends.
func eachEnding(ctx context.Context, txn reader, from, to millis, visit func(e ending, keyID string) error) error {
	return eachFrom(ctx, txn, timeKey(endPrefix, from), timeKey(endPrefix, to), func(key, value []byte) error {
		e, keyID, err := decodeEnding(key, value)
		if err != nil {
			return err
		}
		return visit(e, keyID)
	})
}
