package store

import (
	"encoding/hex"
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// recordSet collects what a transaction writes besides indexes and notes: at most one
// record for each kind and id, in the order in which they were first written.
type recordSet struct {
	list []apikey.Record
	at   map[recordID]int // where in list
	// ends means that some of them take access away: a key ends earlier than before, or
	// a workspace is suspended.
	ends bool

	// hashedIn is where the values are read that the records replace, so that the hash
	// of all records can be brought up to date; nil if that is not wanted.
	hashedIn reader
	replaced [][]byte // the values that were there before, like list; nil where none was
	err      error    // of reading them
}

type recordID struct {
	kind apikey.RecordKind
	id   string
}

// add adds a record, which must not have been written yet. Its value is nil if it is
// deleted.
func (r *recordSet) add(kind apikey.RecordKind, id string, value []byte) {
	if r.at == nil {
		r.at = make(map[recordID]int)
	}
	record := apikey.Record{Kind: kind, ID: id, Value: value}
	if at, known := r.at[recordID{kind, id}]; known {
		r.list[at] = record
		return
	}
	r.at[recordID{kind, id}] = len(r.list)
	r.list = append(r.list, record)
	if r.hashedIn != nil {
		before, err := valueNow(r.hashedIn, record)
		r.replaced, r.err = append(r.replaced, before), errors.Join(r.err, ignoreNotFound(err))
	}
}

// update brings the hash of all records of a store up to date.
func (r *recordSet) update(set *sethash.Hash) error {
	for i, record := range r.list {
		before := record
		before.Value = r.replaced[i]
		if before.Value != nil {
			set.Remove(before)
		}
		if record.Value != nil {
			set.Add(record)
		}
	}
	return r.err
}

func (r *recordSet) addFeed(digest apikey.Digest, value []byte) {
	r.add(apikey.RecordFeed, hex.EncodeToString(digest[:]), value)
}

// putKey adds a key. before is nil if it is new.
func (r *recordSet) putKey(before, key *apikey.Key, value []byte) {
	r.add(apikey.RecordKey, key.ID, value)
	if before == nil {
		return
	}
	revoked := before.RevokedAt.IsZero() && !key.RevokedAt.IsZero()
	if revoked || key.ActiveUntil().Before(before.ActiveUntil()) {
		r.ends = true
	}
}
