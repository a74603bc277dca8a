package store

import (
	"context"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// maxForgottenEvents is the maximum number of events that one transaction deletes.
const maxForgottenEvents = 1000

// maxJournalAge is how old an entry of the journal may become before ForgetEvents asks
// for a snapshot.
const maxJournalAge = 24 * time.Hour

// ForgetEvents deletes the events of the audit trail from before a time, oldest first,
// and returns their number. The newest event of all is kept, however old: it shows that
// there was an audit trail. ForgetEvents takes as many short transactions as it needs,
// and stops early when ctx is done.
//
// The events disappear from the journal about a day later, when a snapshot replaces its
// older entries.
func (s *Store) ForgetEvents(ctx context.Context, before, now time.Time) (forgotten int, err error) {
	pacer := durable.NewPacer(ctx)
	for last := ""; err == nil; err = pacer.Rest() {
		var n int
		n, last, err = s.forgetSome(ctx, last, before, now)
		forgotten += n
		if err != nil || n < s.atOnce(maxForgottenEvents) {
			break
		}
	}
	return forgotten, err
}

// forgetSome deletes some of the events after the given one, which is the last that was
// deleted. Starting at the beginning again would mean skipping everything that was
// deleted.
func (s *Store) forgetSome(ctx context.Context, after string, before, now time.Time) (n int, last string, err error) {
	err = s.work(ctx, now, deleting(func(txn *transaction) error {
		events, err := oldEvents(txn, after, before, s.atOnce(maxForgottenEvents))
		n, last = len(events), ""
		for _, event := range events {
			err = errors.Join(err, eraseEvent(txn, &event))
			last = event.ID
		}
		return err
	}), func(turn *durable.Turn) error {
		turn.LimitJournalAge(now, maxJournalAge)
		return nil
	})
	if err != nil {
		return 0, "", err
	}
	return n, last, nil
}

// oldEvents returns up to most events from before a time, oldest first,
// but not the newest event of all.
func oldEvents(txn reader, after string, before time.Time, most int) (events []eventRecord, err error) {
	for key, value := range txn.Between(eventKey(after), []byte("a0")) { // 0 comes after /
		var r eventRecord
		if err := decode(key, value, &r); err != nil {
			return nil, err
		}
		events = append(events, r)
		if len(events) > most || !r.At.time().Before(before) {
			break
		}
	}
	if len(events) == 0 {
		return nil, nil
	}
	return events[:len(events)-1], nil // the last one is too recent, the newest of all, or left for the next call
}
