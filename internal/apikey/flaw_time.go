package apikey

import (
	"cmp"
	"time"
)

// MaxAhead is how far ahead a clock may have been when a record was made, for the
// record to be restored. Records with odd times are correct where a clock was wrong,
// but new ids sort after all that there are: a record from a far future would take
// the ids of all later ones there.
const MaxAhead = 10 * 365 * day

// Ahead reports whether a time is so far ahead of a clock that no record can have it.
func Ahead(t, clock time.Time) bool { return t.Sub(clock) > MaxAhead }

// TimeFlaw says why nothing can have happened at a time to what has the valid id, or
// "". Ids can run ahead of the clock, but no further than the clock once was. A zero
// time is one at which nothing has happened.
func TimeFlaw(id string, at, now time.Time) string {
	made := idTime(id)
	switch {
	case Ahead(made, now):
		return "the time in its id is more than ten years ahead of this machine's clock"
	case at.IsZero():
		return ""
	case Ahead(at, now):
		return "a time in it is more than ten years ahead of this machine's clock"
	case Ahead(made, at):
		return "a time in it is more than ten years before the time in its id"
	}
	return ""
}

// TimeFlaw says what is wrong with the times of a key that has no [Key.Flaw]. It may
// have been created long before it got its id: elsewhere.
func (k *Key) TimeFlaw(now time.Time) string {
	switch {
	case Ahead(k.CreatedAt, now):
		return "its creation time is more than ten years ahead of this machine's clock"
	case Ahead(k.CreatedAt, idTime(k.ID)):
		return "its creation time is more than ten years after the time in its id"
	case k.ReplacedBy != "" && Ahead(idTime(k.ReplacedBy), now):
		return "the time in the id of its replacement is more than ten years ahead of this machine's clock"
	}
	return cmp.Or(
		TimeFlaw(k.ID, k.RevokedAt, now),
		TimeFlaw(k.ID, k.ReplacedAt, now),
		TimeFlaw(k.ID, k.ExposedAt, now),
		TimeFlaw(k.ID, k.LeakedAt, now),
	)
}

// TimeFlaw says what is wrong with the times of an event that has no [Event.Flaw].
func (e *Event) TimeFlaw(now time.Time) string {
	if e.KeyID != "" && !e.Refused() && Ahead(idTime(e.KeyID), now) {
		return "the time in the id of its key is more than ten years ahead of this machine's clock"
	}
	return TimeFlaw(e.ID, e.At, now)
}
