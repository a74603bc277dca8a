package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A replica keeps records that its fleet has lost, until they have been put back, next to
// those that it is then filled with. Their notes are in the order in which they are put
// back: a feed ends before the one that replaced it is opened, and an event that is back
// in the audit trail shows that everything up to it is back.

// The places of the kinds of records among those that are kept.
const (
	keptKey byte = '1' + iota
	keptSuspension
	keptEndedFeed
	keptFeed
	keptTombstone
	keptForgotten
	keptEvent
)

const keptPrefix = "m/kept/"

// keptNote returns where a record is kept. It depends on the record's value too, so that
// two records of one key are both kept.
func keptNote(r apikey.Record) ([]byte, error) {
	place, err := keptPlace(r)
	sum := sha256.Sum256(r.Value)
	note := append([]byte(keptPrefix), place)
	return slices.Concat(note, []byte(r.ID), []byte{0}, sum[:keptSum]), err
}

// keptSum is how many bytes of the hash of a record's value tell its notes apart.
const keptSum = 8

func keptPlace(r apikey.Record) (byte, error) {
	switch r.Kind {
	case apikey.RecordKey:
		return keptKey, nil
	case apikey.RecordSuspension:
		return keptSuspension, nil
	case apikey.RecordTombstone:
		return keptTombstone, nil
	case apikey.RecordForgotten:
		return keptForgotten, nil
	case apikey.RecordEvent:
		return keptEvent, nil
	}
	var state feedState
	if err := decode([]byte(r.ID), r.Value, &state); err != nil || state.EndedAt == 0 {
		return keptFeed, err
	}
	return keptEndedFeed, nil
}

// keptRecord is the inverse of keptNote.
func keptRecord(note, value []byte) apikey.Record {
	rest := note[len(keptPrefix):]
	kind := map[byte]apikey.RecordKind{
		keptKey: apikey.RecordKey, keptSuspension: apikey.RecordSuspension, keptForgotten: apikey.RecordForgotten, keptTombstone: apikey.RecordTombstone,
		keptEvent: apikey.RecordEvent, keptFeed: apikey.RecordFeed, keptEndedFeed: apikey.RecordFeed,
	}[rest[0]]
	return apikey.Record{Kind: kind, ID: string(rest[1 : len(rest)-1-keptSum]), Value: bytes.Clone(value)}
}

// keep keeps records.
func (s *Store) keep(ctx context.Context, list []apikey.Record) error {
	for some := range slices.Chunk(list, reloadedAtOnce) {
		if err := s.writeLocally(ctx, time.Now(), func(txn *transaction) error {
			for _, r := range some {
				note, err := keptNote(r)
				if err == nil {
					err = txn.Set(note, r.Value)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// setKept says that everything that is to be put back is kept, and as of when; the zero
// time if there is nothing. It never gets earlier: see PutBack.
func setKept(txn *transaction, at millis) error {
	r, err := replicaIn(txn)
	if at != 0 {
		at = max(at, r.KeptAt)
	}
	r.KeptAt = at
	return errors.Join(err, save(txn, fleetKey, r))
}

// Kept returns how many records the replica keeps that have to be put back into its fleet.
// As long as there are any, keys may be active in it that have been revoked.
func (s *Store) Kept() (n int, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := replicaIn(txn)
		if err != nil || r.KeptAt == 0 {
			return err
		}
		for range txn.Below([]byte(keptPrefix)) {
			n++
		}
		return nil
	})
	return n, err
}

// PutBack commits the records that the replica keeps to the log of its fleet, those that
// the fleet has not, at most a hundred at a time. It calls committed after each time, with
// how many are left. If it fails, or the gateway is stopped, it can be called again.
func (s *Store) PutBack(ctx context.Context, committed func(o apikey.Outcome, left int)) error {
	for {
		left, err := s.Kept()
		if err != nil || left == 0 {
			return err
		}
		do, notes, err := s.nextKept()
		if err != nil {
			return err
		}
		do.More = len(notes) < left
		now := time.Now().UTC()
		outcome, err := s.commitToLog(ctx, apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: apikey.FleetActor, Do: do})
		if err != nil {
			return err
		}
		if err := s.dropKept(ctx, notes, !do.More); err != nil {
			return err
		}
		committed(outcome, left-len(notes))
	}
}

// nextKept returns the records that are to be put back next, and their notes.
func (s *Store) nextKept() (do apikey.PutBack, notes [][]byte, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := replicaIn(txn)
		if err != nil {
			return err
		}
		do.MadeAt = r.KeptAt.time()
		records, size := 0, 0
		for note, value := range txn.Below([]byte(keptPrefix)) {
			record := keptRecord(note, value)
			if records += writesOf(record); records > maxCommitted || size > restoredBytesAtOnce {
				break
			}
			size += len(value)
			do.Records, notes = append(do.Records, record), append(notes, bytes.Clone(note))
		}
		return nil
	})
	return do, notes, err
}

// writesOf returns how many records are written at most to put one back: a key can bring
// the one that it replaced with it, and a tombstone ends its key.
func writesOf(r apikey.Record) int {
	if r.Kind == apikey.RecordKey || r.Kind == apikey.RecordTombstone {
		return 2
	}
	return 1
}

// dropKept deletes the notes of records that have been put back.
func (s *Store) dropKept(ctx context.Context, notes [][]byte, last bool) error {
	return s.writeLocally(ctx, time.Now(), func(txn *transaction) (err error) {
		for _, note := range notes {
			err = errors.Join(err, txn.Delete(note))
		}
		if last {
			err = errors.Join(err, setKept(txn, 0))
		}
		return err
	})
}
