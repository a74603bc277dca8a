package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// forgotten is what the store has deleted for its age. Restoring an older backup must
// not bring any of it back to life.
type forgotten struct {
	Feeds millis `json:"feeds,omitzero"` // calendar feeds that ended before this time
	// Keys is the latest expiry of a deleted key. If the clock that had confirmed this
	// time was wrong, SetBack is the time it was set back to.
	Keys    millis `json:"keys,omitzero"`
	SetBack millis `json:"set_back,omitzero"`
}

// and returns what either of two stores has deleted.
func (f forgotten) and(other forgotten) forgotten {
	return forgotten{max(f.Feeds, other.Feeds), max(f.Keys, other.Keys), max(f.SetBack, other.SetBack)}
}

// mayHaveDeleted reports whether the store may have deleted a key that has not expired,
// because the clock was wrong for a long time. Of an imported key there would be a tombstone.
func (f forgotten) mayHaveDeleted(key *apikey.Key) bool {
	return !key.Imported && toMillis(key.ExpiresAt) <= f.Keys && toMillis(key.CreatedAt) < f.SetBack
}

func loadForgotten(txn reader) (f forgotten, err error) {
	return f, loadIfThere(txn, forgottenKey, &f)
}

// noteForgotten records that more has been deleted.
func noteForgotten(txn *transaction, more forgotten) error {
	before, err := loadForgotten(txn)
	after := before.and(more)
	if err != nil || after == before {
		return err
	}
	value, err := encode(after)
	return errors.Join(err, putForgottenAs(txn, value))
}

func putForgottenAs(txn *transaction, record []byte) error {
	txn.records.add(apikey.RecordForgotten, apikey.ForgottenID, record)
	return txn.Set(forgottenKey, record)
}

func eraseForgotten(txn *transaction) error {
	txn.records.add(apikey.RecordForgotten, apikey.ForgottenID, nil)
	return txn.Delete(forgottenKey)
}

func endedFeedKey(at millis, digest apikey.Digest) []byte {
	return append(timeKey(endedFeedPrefix, at), digest[:]...)
}

// decodeEndedFeed decodes an entry of the index.
func decodeEndedFeed(entry []byte) (at millis, digest apikey.Digest, err error) {
	key := entry[len(endedFeedPrefix):]
	if len(key) != 8+len(digest) {
		return 0, digest, fmt.Errorf("the entry %q in the index of ended calendar feeds is damaged", entry)
	}
	return millis(binary.BigEndian.Uint64(key)), apikey.Digest(key[8:]), nil
}

// ForgetFeeds deletes the records of calendar feeds that ended before a time, and
// returns their number. No backup opens such a feed again: see merge.feed. The time
// does not count beyond the confirmed time: see NoteClock.
func (s *Store) ForgetFeeds(ctx context.Context, before, now time.Time) (n int, err error) {
	pacer := durable.NewPacer(ctx)
	for from := timeKey(endedFeedPrefix, 0); from != nil && err == nil; {
		var some int
		var next []byte
		err = s.work(ctx, now, deleting(func(txn *transaction) (err error) {
			some, next, err = forgetSomeFeeds(ctx, txn, from, before, s.atOnce(endedAtOnce))
			return err
		}), nil)
		if err != nil {
			break
		}
		n, from = n+some, next
		if from != nil {
			err = pacer.Rest()
		}
	}
	return n, err
}

// forgetSomeFeeds deletes feeds from an entry of the index on, and returns the entry to
// continue from, nil if there are no more.
func forgetSomeFeeds(ctx context.Context, txn *transaction, from []byte, before time.Time, most int) (n int, next []byte, err error) {
	confirmed, err := confirmedTime(txn)
	if err != nil {
		return 0, nil, err
	}
	until := max(min(toMillis(before), confirmed), 0)
	var old [][]byte
	err = eachFrom(ctx, txn, from, timeKey(endedFeedPrefix, until), func(entry, _ []byte) error {
		if len(old) == most {
			next = bytes.Clone(entry)
			return errEnough
		}
		old = append(old, bytes.Clone(entry))
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	if err != nil || len(old) == 0 {
		return 0, nil, err
	}
	err = noteForgotten(txn, forgotten{Feeds: until})
	for _, entry := range old {
		at, digest, decodeErr := decodeEndedFeed(entry)
		err = errors.Join(err, decodeErr, eraseFeed(txn, digest, feedState{EndedAt: at}))
	}
	return len(old), next, err
}
