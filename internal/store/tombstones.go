package store

import (
	"encoding/hex"
	"errors"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A tombstone is what is left of an imported key that was deleted for its age. An export of
// another system says itself when a key expires, and so could bring it back. Nothing reads
// tombstones but imports and restores, by digest: what they cost does not grow with them.
type tombstone struct{}

const tombstonePrefix = "i/"

func tombstoneKey(d apikey.Digest) []byte { return append([]byte(tombstonePrefix), d[:]...) }

// buried reports whether there is a tombstone of a token.
func buried(txn reader, d apikey.Digest) (bool, error) {
	_, err := txn.Get(tombstoneKey(d))
	return err == nil, ignoreNotFound(err)
}

// bury writes a tombstone, unless there is one.
func bury(txn *transaction, d apikey.Digest) error {
	if there, err := buried(txn, d); there || err != nil {
		return err
	}
	value, err := encode(tombstone{})
	return errors.Join(err, putTombstoneAs(txn, d, value))
}

func putTombstoneAs(txn *transaction, d apikey.Digest, record []byte) error {
	txn.records.add(apikey.RecordTombstone, hex.EncodeToString(d[:]), record)
	return txn.Set(tombstoneKey(d), record)
}

func eraseTombstone(txn *transaction, d apikey.Digest) error {
	txn.records.add(apikey.RecordTombstone, hex.EncodeToString(d[:]), nil)
	return txn.Delete(tombstoneKey(d))
}

func replayTombstone(txn *transaction, record apikey.Record) error {
	digest, err := digestIn(record.ID)
	switch {
	case err != nil:
		return err
	case record.Value == nil:
		return eraseTombstone(txn, digest)
	}
	return errors.Join(decode(tombstoneKey(digest), record.Value, new(tombstone)), putTombstoneAs(txn, digest, record.Value))
}

// tombstone takes over a tombstone of the backup. The store has the key itself if it was
// reset to an earlier state; the key has ended in any case.
func (m *merge) tombstone(digest apikey.Digest) error {
	key, err := keyByDigest(m.txn, digest)
	switch {
	case errors.Is(err, apikey.ErrNotFound):
		err = nil
	case err == nil && key.Status(m.now) == apikey.Active:
		ended := *key
		m.end(&ended, reasonBuried)
		err = m.knownKey(key, &ended)
	}
	return errors.Join(err, bury(m.txn, digest))
}

// reasonBuried is why a key is revoked that has a tombstone.
const reasonBuried = "its token is that of a key that has ended and was deleted"

// end revokes a key.
func (m *merge) end(key *apikey.Key, reason string) {
	key.RevokedAt, key.RevokedBy, key.RevokeReason = m.now, m.actor, reason
}

// deleted says why a key of the backup is one that the store has, or may have, deleted; "" if
// it is not. The backup can be that of another gateway, which issued a token that was imported
// here.
func (m *merge) deleted(key *apikey.Key) (why string, err error) {
	if m.forgotten.mayHaveDeleted(key) {
		return reasonDeleted, nil
	}
	if !m.buries {
		return "", nil
	}
	there, err := buried(m.txn, key.Digest)
	if !there {
		return "", err
	}
	return reasonBuried, nil
}

// tombstone checks a tombstone. Its value has nothing in it that could be wrong.
func (v *verifier) tombstone(key, value []byte) error {
	if len(key) != len(tombstonePrefix)+len(apikey.Digest{}) {
		v.say("the tombstone %q has no digest", key)
	}
	if err := decode(key, value, new(tombstone)); err != nil {
		v.say("%v", err)
	}
	return nil
}

// tombstones writes those of the store to a backup.
func (w *lineWriter) tombstones(txn *durable.Txn) error {
	return each(txn, []byte(tombstonePrefix), func(key, _ []byte) error {
		return w.write(backupLine{Tombstone: key[len(tombstonePrefix):]})
	})
}
