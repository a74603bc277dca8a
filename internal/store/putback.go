package store

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// putBack adds records that the fleet has lost. Those that it has already write nothing,
// so that several gateways can put the same ones back.
func putBack(txn *transaction, change apikey.Change, do apikey.PutBack) (apikey.Outcome, error) {
	lines, err := backupLines(do.Records)
	if err != nil {
		return apikey.Outcome{}, err
	}
	anything := func(apikey.Digest) bool { return true }
	m := &merge{mayHave: anything, now: change.At, actor: change.Actor, madeAt: do.MadeAt}
	before := len(txn.records.list)
	if err := m.all(txn, apikey.Restored{MadeAt: do.MadeAt}, lines); err != nil {
		return apikey.Outcome{}, err
	}
	if len(txn.records.list) == before {
		return apikey.Outcome{Unchanged: true}, nil
	}
	return apikey.Outcome{Event: apikey.Event{Details: m.done.Details()}}, nil
}

// backupLines returns records as they are in a backup.
func backupLines(records []apikey.Record) ([]backupLine, error) {
	lines := make([]backupLine, len(records))
	for i, r := range records {
		if err := lines[i].set(r); err != nil {
			return nil, fmt.Errorf("a record that is to be put back (%c %s): %w", r.Kind, r.ID, err)
		}
	}
	return lines, nil
}

func (l *backupLine) set(r apikey.Record) error {
	name := []byte(r.ID)
	switch r.Kind {
	case apikey.RecordKey:
		l.Key = new(keyRecord)
		return decode(name, r.Value, l.Key)
	case apikey.RecordSuspension:
		l.Suspension = &suspensionRecord{WorkspaceID: r.ID}
		return decode(name, r.Value, &l.Suspension.workspaceRecord)
	case apikey.RecordEvent:
		l.Event = new(eventRecord)
		return decode(name, r.Value, l.Event)
	case apikey.RecordTombstone:
		digest, err := digestIn(r.ID)
		l.Tombstone = digest[:]
		return err
	case apikey.RecordForgotten:
		l.Forgotten = new(forgotten)
		return decode(name, r.Value, l.Forgotten)
	case apikey.RecordFeed:
		return l.setFeed(r)
	}
	return errors.New("it is of an unknown kind")
}

// setFeed sets a calendar feed, open or ended.
func (l *backupLine) setFeed(r apikey.Record) error {
	var state feedState
	if err := decode([]byte(r.ID), r.Value, &state); err != nil {
		return err
	}
	if state.EndedAt == 0 {
		l.Feed = new(feedRecord)
		return decode([]byte(r.ID), r.Value, l.Feed)
	}
	digest, err := digestIn(r.ID)
	l.EndedFeed, l.EndedAt = digest[:], state.EndedAt
	return err
}

// digestIn returns the digest of a token, which is the id of the record of a feed and of a
// tombstone.
func digestIn(id string) (digest apikey.Digest, err error) {
	decoded, err := hex.DecodeString(id)
	if err != nil || len(decoded) != len(digest) {
		return digest, errors.Join(errors.New("it has an invalid digest"), err)
	}
	return apikey.Digest(decoded), nil
}
