package store

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

const (
	// announcedAtOnce is the maximum number of messages that one transaction announces with.
	announcedAtOnce = maxCommitted
	// examinedAtOnce is the maximum number of keys that one transaction looks at for that.
	examinedAtOnce = 1000
	// maxLag is how far the schedule may stay behind while there is nothing to announce.
	maxLag = time.Minute
)

// Announce writes the messages about keys that have come into a window before their end,
// or have ended, by now: see [webhook.Outbox]. What is due for the receivers that are set
// with [Store.SetReceivers] begins with the first call for them. Several windows at once
// are announced as the shortest, and not at all once the key has ended.
//
// full is where a fleet has no room for more messages: see [webhook.FullFor].
func (s *Store) Announce(ctx context.Context, now time.Time, full []string) (more bool, err error) {
	a := announcement{hooks: s.hooks.Load(), now: now, full: full}
	var due bool
	if err := s.view(func(txn *durable.Txn) error {
		due, err = a.isDue(ctx, txn)
		return err
	}); err != nil || !due {
		return false, err
	}
	err = s.work(ctx, now, work{do: func(txn *transaction) error {
		more, err = a.write(ctx, txn)
		return err
	}}, nil)
	return more, err
}

// announcement is one transaction that announces what is due.
type announcement struct {
	hooks *hooks
	now   time.Time
	full  []string

	schedule schedule
	entries  int // that were looked at
}

// due is a key that has come into a window.
type due struct {
	ending
	keyID string
}

// isDue reports whether the schedule has to be written.
func (a *announcement) isDue(ctx context.Context, txn reader) (bool, error) {
	var err error
	if a.schedule, err = loadSchedule(txn); err != nil {
		return false, err
	}
	if a.hooks == nil {
		return len(a.schedule.Marks) > 0, nil
	}
	if len(a.schedule.Marks) != len(a.hooks.windows) || !slices.Equal(a.schedule.Full, a.full) {
		return true, nil
	}
	for _, before := range a.hooks.windows {
		m, known := a.schedule.find(before)
		if !known || a.now.Sub(m.at()) > maxLag {
			return true, nil
		}
		if some, _, err := a.within(ctx, txn, m, 1); err != nil || len(some) > 0 {
			return true, err
		}
	}
	return false, nil
}

// within returns the keys that have come into the window of a mark, up to a maximum, and
// the mark after them.
func (a *announcement) within(ctx context.Context, txn reader, m mark, most int) (keys []due, after mark, err error) {
	end := newMark(m.Before.duration(), a.now)
	if end.To <= m.To { // the clock is behind the one by which the mark was set
		return nil, m, nil
	}
	err = eachFrom(ctx, txn, m.key(), end.key(), func(entry, value []byte) error {
		e, keyID, err := decodeEnding(entry, value)
		if err != nil {
			return err
		}
		if len(keys) == most {
			end.To, end.KeyID = e.at, keyID
			return errFull
		}
		keys = append(keys, due{e, keyID})
		return nil
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	return keys, end, err
}

// write announces what is due, and reports whether there is more.
func (a *announcement) write(ctx context.Context, txn *transaction) (more bool, err error) {
	before, err := loadSchedule(txn)
	if err != nil {
		return false, err
	}
	if a.hooks == nil {
		return false, eraseSchedule(txn)
	}
	a.schedule, a.entries = schedule{Full: a.full}, 0
	for _, window := range a.hooks.windows {
		m, known := before.find(window)
		if !known {
			m = newMark(window, a.now) // for what is in it already, nobody asked then
		}
		part, err := a.announce(ctx, txn, &m)
		if err != nil {
			return false, err
		}
		a.schedule.set(m)
		more = more || part
	}
	return more, saveSchedule(txn, a.schedule)
}

// announce announces the keys that have come into the window of a mark, and moves the mark.
// If it has no room for all of them, there are more.
func (a *announcement) announce(ctx context.Context, txn *transaction, m *mark) (more bool, err error) {
	keys, after, err := a.within(ctx, txn, *m, examinedAtOnce-a.entries)
	if err != nil {
		return false, err
	}
	for _, key := range keys {
		if len(txn.out.messages)+len(a.hooks.receivers) > announcedAtOnce {
			*m = mark{m.Before, key.at, key.keyID}
			return true, nil
		}
		a.entries++
		if err := a.tell(txn, m.Before.duration(), key); err != nil {
			return false, err
		}
	}
	*m = after
	return after.KeyID != "", nil
}

// tell tells of a key that has come into a window, or has ended.
func (a *announcement) tell(txn *transaction, window time.Duration, key due) error {
	end := key.at.time()
	typ := webhook.KeyExpired
	switch {
	case window > 0 && (key.status() == apikey.Revoked || !end.After(a.now)):
		return nil
	case window > 0:
		return a.tellExpiring(txn, window, key)
	case key.status() == apikey.Revoked:
		typ = webhook.KeyRevoked
	}
	receivers := a.hooks.taking(typ)
	if len(receivers) == 0 {
		return nil
	}
	record, err := keyByID(txn, key.keyID)
	if err != nil {
		return err
	}
	return txn.tellSome(receivers, typ, record, "", end, a.now)
}

// tellExpiring tells the receivers with a window of a key that has come into it, except
// those with a shorter one that the key is in too.
func (a *announcement) tellExpiring(txn *transaction, window time.Duration, key due) error {
	left := key.at.time().Sub(a.now)
	for i := range a.hooks.receivers {
		r := &a.hooks.receivers[i]
		w, in := shortest(r, func(w webhook.Window) bool { return left <= w.Before })
		if !in || w.Before != window {
			continue
		}
		record, err := keyByID(txn, key.keyID)
		if err != nil {
			return err
		}
		if err := txn.tellSome([]string{r.ID}, webhook.KeyExpiring, record, w.Within, a.now, a.now); err != nil {
			return err
		}
	}
	return nil
}

// shortest returns the shortest window of a receiver that a key is in.
func shortest(r *webhook.Receiver, isIn func(webhook.Window) bool) (shortest webhook.Window, in bool) {
	if !r.Takes(webhook.KeyExpiring) {
		return shortest, false
	}
	for _, w := range r.Expiring {
		if isIn(w) && (!in || w.Before < shortest.Before) {
			shortest, in = w, true
		}
	}
	return shortest, in
}

// tellBegun tells each receiver of a new key that is in its windows from the beginning, of
// the shortest, unless Announce is about to.
func (t *transaction) tellBegun(key *apikey.Key, at time.Time) error {
	if t.out.hooks.count() == 0 {
		return nil
	}
	s, err := loadSchedule(t)
	if err != nil {
		return err
	}
	for i := range t.out.hooks.receivers {
		r := &t.out.hooks.receivers[i]
		w, in := shortest(r, func(w webhook.Window) bool {
			// Where another gateway of the fleet has announced, its clock may be ahead.
			return key.ExpiresAt.Sub(at) <= w.Before || s.isPast(w.Before, key)
		})
		if !in || s.has(w.Before) && !s.isPast(w.Before, key) {
			continue
		}
		if err := t.tellSome([]string{r.ID}, webhook.KeyExpiring, key, w.Within, at, at); err != nil {
			return err
		}
	}
	return nil
}

// arrive keeps a key that is about to be imported or restored from being announced for the
// windows that it is in already, and for an end that is past: the schedule can be behind by
// maxLag. It stays where other keys are due, because Announce is about to come.
func (t *transaction) arrive(key *apikey.Key, at time.Time) error {
	s, err := loadSchedule(t)
	if err != nil {
		return err
	}
	a, changed := announcement{now: at}, false
	for i, m := range s.Marks {
		before := m.Before.duration()
		if key.ActiveUntil().Sub(at) > before || s.isPast(before, key) {
			continue
		}
		others, after, err := a.within(context.Background(), t, m, 1)
		if err != nil {
			return err
		}
		if len(others) == 0 {
			s.Marks[i], changed = after, true
		}
	}
	if !changed {
		return nil
	}
	return saveSchedule(t, s)
}
