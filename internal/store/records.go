package store

import (
	"encoding/hex"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// recordSet collects what a transaction writes besides indexes and notes: at most one
// record for each kind and id, in the order in which they were first written.
type recordSet struct {
	list []apikey.Record
	at   map[recordID]int // where in list
	// ends means that some of them take access away: a key ends earlier than before, or
	// a workspace is suspended.
	ends bool
}

type recordID struct {
	kind apikey.RecordKind
	id   string
}

// add adds a record. Its value is nil if it is deleted.
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
