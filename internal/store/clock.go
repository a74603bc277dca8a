package store

import (
	"context"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// clockRecord is what is recorded about the clock, apart from the confirmed time.
type clockRecord struct {
	Ahead   millis `json:"ahead,omitzero"` // both are durations
	Stood   millis `json:"stood,omitzero"`
	Trusted string `json:"trusted,omitzero"` // the event of the trustRecord that was there when the note was made
}

// ClockNote returns what is recorded about the time; the zero note in a new store.
func (s *Store) ClockNote() (note apikey.ClockNote, err error) {
	err = s.view(func(txn *durable.Txn) error {
		note, _, err = clockNote(txn)
		return err
	})
	return note, err
}

// clockNote returns what is recorded about the time, and the event of the trustRecord
// that it is based on, if any.
func clockNote(txn reader) (note apikey.ClockNote, trusted string, err error) {
	if t, ok := txn.(*transaction); ok && t.clock != nil {
		return t.clock.note, t.clock.trusted, nil
	}
	var confirmed millis
	var record clockRecord
	var trust trustRecord
	err = errors.Join(
		loadIfThere(txn, clockKey, &confirmed),
		loadIfThere(txn, clockNoteKey, &record),
		loadIfThere(txn, clockTrustKey, &trust),
	)
	if record.Trusted != trust.EventID {
		return apikey.ClockNote{Confirmed: trust.At.time()}, trust.EventID, err
	}
	return apikey.ClockNote{Confirmed: confirmed.time(), Ahead: record.Ahead.duration(), Stood: record.Stood.duration()}, trust.EventID, err
}

// loadIfThere is load, but leaves the record unchanged if there is none.
func loadIfThere(txn reader, key []byte, record any) error {
	if err := load(txn, key, record); !errors.Is(err, durable.ErrNotFound) {
		return err
	}
	return nil
}

func (m millis) duration() time.Duration { return time.Duration(m) * time.Millisecond }

// jump is how far the clock must be ahead of the confirmed time for the difference not
// to be due to waiting: the confirmed time is recorded far more often.
const jump = 10 * time.Minute

// withoutJump returns the time by which keys have ended for good: now, or the confirmed
// time if the clock is ahead of that. Once the clock is corrected, keys that only
// seemed to have ended are valid again, and need their names.
func withoutJump(txn reader, now time.Time) (time.Time, error) {
	note, _, err := clockNote(txn)
	if err != nil || note.Confirmed.IsZero() || now.Sub(note.Confirmed) <= jump {
		return now, err
	}
	return note.Confirmed, nil
}

// NoteClock stores what read returns. It calls read while no change is being made,
// because a change may set the clock.
func (s *Store) NoteClock(read func() apikey.ClockNote) error {
	return s.wrapInternal(s.db.Note(func(txn *durable.Txn) error { return saveClock(txn, read()) }))
}

// confirmRebuilt advances the confirmed time of a store that was rebuilt from its
// journal to that of the last change, unless the clock was set since the snapshot: then
// the last change may be from before that.
func confirmRebuilt(txn *durable.Txn, from durable.RebuiltFrom) error {
	note, _, err := clockNote(txn)
	if err != nil || from.Changed(clockTrustKey) || !from.LastChange.After(note.Confirmed) {
		return err
	}
	note.Confirmed = from.LastChange
	return saveClock(txn, note)
}

func saveClock(txn *durable.Txn, note apikey.ClockNote) error {
	_, trusted, err := clockNote(txn)
	if err != nil {
		return err
	}
	record := clockRecord{Ahead: millis(note.Ahead.Milliseconds()), Stood: millis(note.Stood.Milliseconds()), Trusted: trusted}
	return errors.Join(save(txn, clockKey, toMillis(note.Confirmed)), save(txn, clockNoteKey, record))
}

// checkClock compares the machine's clock with what is recorded about the time.
func (s *Store) checkClock(machine time.Time) doctor.Finding {
	const check = "clock"
	var note apikey.ClockNote
	err := s.view(func(txn *durable.Txn) (err error) {
		note, _, err = clockNote(txn)
		return err
	})
	ahead := machine.Sub(note.Confirmed)
	switch {
	case err != nil:
		return doctor.Faultf(check, durable.AdviceRestart, "The latest recorded time cannot be read.")
	case note.Confirmed.IsZero():
		return doctor.Finef(check, "No time has been recorded yet.")
	case ahead < -apikey.ClockTolerance:
		return doctor.Faultf(check, "If the clock is wrong, correct it: until then, keys are checked against the later time, so that expired keys stay expired. "+
			"If it is right, an earlier clock was ahead: run caddy api-keys clock --trust.",
			"The clock says %s, but the latest recorded time is %s.", machine.Format(time.RFC3339), note.Confirmed.Format(time.RFC3339))
	case ahead > apikey.MaxPause:
		return doctor.Warningf(check, "If the clock is wrong, correct it: the keys that expired because of it are valid again then, and until then nothing is deleted. "+
			"If it is right, run caddy api-keys clock --trust, or wait until the server has run for three days, which confirms it.",
			"The clock says %s, and the store is certain only of %s.", machine.Format(time.RFC3339), note.Confirmed.Format(time.RFC3339))
	}
	return doctor.Finef(check, "The clock agrees with the latest recorded time.")
}

// checkFuture reports how many keys were created while the clock was ahead.
func (s *Store) checkFuture(ctx context.Context, machine time.Time) []doctor.Finding {
	const check = "clock"
	n, latest := 0, time.Time{}
	err := s.view(func(txn *durable.Txn) error {
		// New ids always sort after the latest, so some of these keys were created when
		// the clock was right.
		return eachFrom(ctx, txn, recordKey(apikey.FirstKeyID(machine)), []byte("k0"), func(key, value []byte) error {
			made, err := decodeKey(keyIDIn(key), value)
			if err == nil && made.CreatedAt.After(machine.Add(apikey.ClockTolerance)) && made.RevokedAt.IsZero() {
				n++
				latest = later(latest, made.ActiveUntil())
			}
			return nil // checkRecords reports unreadable records
		})
	})
	switch {
	case err != nil:
		return []doctor.Finding{doctor.Warningf(check, "", "Whether keys were made by a clock that was ahead cannot be told: %v.", err)}
	case n > 0:
		return []doctor.Finding{doctor.Warningf(check, "If the clock is right, rotate or revoke them: they live longer than they should. Their created_at is in the future.",
			"A clock that was ahead made %d of the keys, and the last of those ends at %s.", n, latest.Format(time.RFC3339))}
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
