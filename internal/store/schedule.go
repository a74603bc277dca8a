package store

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// schedule is which ends of keys have been announced. It is written in the transaction that
// writes the messages, so that none is announced twice, and none is left out.
type schedule struct {
	Marks []mark `json:"marks"`
	// Full is where a fleet has no room for more messages: see [webhook.FullFor].
	Full []string `json:"full,omitempty"`
}

// full reports whether a fleet has no room for a message.
func (s *schedule) full(receiver, workspace string) bool {
	return slices.Contains(s.Full, webhook.FullFor(receiver, "")) || slices.Contains(s.Full, webhook.FullFor(receiver, workspace))
}

// mark is the point up to which the keys have been announced that end so long from now: in
// the index of ends, everything before it.
type mark struct {
	Before millis `json:"before"` // a duration; 0 for the end itself
	To     millis `json:"to"`     // when the keys end
	KeyID  string `json:"key_id,omitzero"`
}

func loadSchedule(txn reader) (s schedule, err error) {
	return s, loadIfThere(txn, scheduleKey, &s)
}

func saveSchedule(txn *transaction, s schedule) error {
	record, err := encode(s)
	return errors.Join(err, putSchedule(txn, record))
}

// replaySchedule writes the record as the fleet has it.
func replaySchedule(txn *transaction, record apikey.Record) error {
	switch {
	case record.ID != apikey.ScheduleID:
		return errors.New("it has an invalid id")
	case record.Value == nil:
		return eraseSchedule(txn)
	}
	return putSchedule(txn, record.Value)
}

// find returns the mark of a window.
func (s *schedule) find(before time.Duration) (mark, bool) {
	for _, m := range s.Marks {
		if m.Before.duration() == before {
			return m, true
		}
	}
	return mark{}, false
}

// set replaces a mark, or adds one.
func (s *schedule) set(m mark) {
	for i := range s.Marks {
		if s.Marks[i].Before == m.Before {
			s.Marks[i] = m
			return
		}
	}
	s.Marks = append(s.Marks, m)
}

// key returns where a mark is in the index of ends.
func (m mark) key() []byte { return append(timeKey(endPrefix, m.To), m.KeyID...) }

// has reports whether there is a mark for a window.
func (s *schedule) has(before time.Duration) bool {
	_, known := s.find(before)
	return known
}

// isPast reports whether a key was announced for a window, or would have been if it had
// been there.
func (s *schedule) isPast(before time.Duration, key *apikey.Key) bool {
	m, known := s.find(before)
	return known && bytes.Compare(endKey(endingOf(key), key.ID), m.key()) < 0
}

// newMark returns the mark of a window in which everything has been announced.
func newMark(before time.Duration, now time.Time) mark {
	return mark{Before: millis(before.Milliseconds()), To: toMillis(now.Add(before)) + 1}
}

// at is the latest time at which a mark can have been set.
func (m mark) at() time.Time { return (m.To - m.Before).time() }

// setBack has the keys announced again that become active again when the clock is set back.
func (s *schedule) setBack(now time.Time) (changed bool) {
	for i, m := range s.Marks {
		if m.at().Sub(now) > apikey.ClockTolerance {
			s.Marks[i], changed = newMark(m.Before.duration(), now), true
		}
	}
	return changed
}

// setScheduleBack is setBack for the schedule in the store.
func setScheduleBack(txn *transaction, now time.Time) error {
	s, err := loadSchedule(txn)
	if err != nil || !s.setBack(now) {
		return err
	}
	return saveSchedule(txn, s)
}
