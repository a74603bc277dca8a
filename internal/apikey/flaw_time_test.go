package apikey

import (
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// idAt returns an id with a time in it, which none that is made later sorts after.
func idAt(t *testing.T, prefix string, at time.Time) string {
	t.Helper()
	var id ulid.ULID
	if err := id.SetTime(uint64(at.UnixMilli())); err != nil {
		t.Fatal(err)
	}
	return prefix + id.String()
}

func TestKey_TimeFlaw(t *testing.T) {
	ahead, tooFar := flawTime.Add(MaxAhead), flawTime.Add(MaxAhead+time.Millisecond)
	before, longBefore := flawTime.Add(-MaxAhead), flawTime.Add(-MaxAhead-time.Millisecond)
	for _, test := range []struct {
		name   string
		change func(*Key)
		want   string
	}{
		{"nothing", func(*Key) {}, ""},
		{"a clock that was ahead", func(k *Key) {
			k.ID, k.CreatedAt, k.ExpiresAt, k.RevokedAt = idAt(t, keyIDPrefix, ahead), ahead, ahead.Add(time.Hour), ahead
		}, ""},
		{"an id that ran ahead of the clock", func(k *Key) { k.ID = idAt(t, keyIDPrefix, ahead) }, ""},
		{"a clock that was set back", func(k *Key) { k.RevokedAt, k.ExposedAt = before, before }, ""},
		{"created elsewhere", func(k *Key) { k.CreatedAt = time.Unix(1, 0) }, ""},
		{"a long life", func(k *Key) { k.ExpiresAt = flawTime.AddDate(200, 0, 0) }, ""},
		{"a clock that was in 1970", func(k *Key) { k.ID, k.CreatedAt = idAt(t, keyIDPrefix, time.Unix(1, 0)), time.Unix(1, 0) }, ""},

		{"an id of the far future", func(k *Key) { k.ID = idAt(t, keyIDPrefix, tooFar) }, "the time in its id"},
		{"an id of the last millisecond", func(k *Key) { k.ID = idAt(t, keyIDPrefix, latest) }, "the time in its id"},
		{"an id of 1970", func(k *Key) { k.ID = idAt(t, keyIDPrefix, time.Unix(1, 0)) }, "its creation time"},
		{"created in the far future", func(k *Key) { k.CreatedAt, k.ExpiresAt = tooFar, tooFar.Add(time.Hour) }, "its creation time"},
		{"revoked in the far future", func(k *Key) { k.RevokedAt = tooFar }, "a time in it"},
		{"revoked long before it was made", func(k *Key) { k.RevokedAt = longBefore }, "a time in it"},
		{"exposed in the far future", func(k *Key) { k.ExposedAt = tooFar }, "a time in it"},
		{"leaked in the far future", func(k *Key) { k.LeakedAt = tooFar }, "a time in it"},
		{"replaced in the far future", func(k *Key) { k.ReplacedBy, k.ReplacedAt = idAt(t, keyIDPrefix, ahead), tooFar }, "a time in it"},
		{"a replacement of the far future", func(k *Key) { k.ReplacedBy, k.ReplacedAt = idAt(t, keyIDPrefix, tooFar), flawTime }, "its replacement"},
	} {
		key := flawless()
		key.ID = idAt(t, keyIDPrefix, flawTime)
		test.change(&key)
		wantFlaw(t, test.name+", in range", key.Flaw(), "")
		wantFlaw(t, test.name, key.TimeFlaw(flawTime), test.want)
	}
}

func TestEvent_TimeFlaw(t *testing.T) {
	tooFar := flawTime.Add(MaxAhead + time.Millisecond)
	for _, test := range []struct {
		name   string
		change func(*Event)
		want   string
	}{
		{"nothing", func(*Event) {}, ""},
		{"a refused call for a key of the far future", func(e *Event) {
			e.KeyID, e.Details = idAt(t, keyIDPrefix, latest), map[string]any{"refused": "not_found"}
		}, ""},
		{"an id of the last millisecond", func(e *Event) { e.ID = idAt(t, eventIDPrefix, latest) }, "the time in its id"},
		{"a key of the far future", func(e *Event) { e.KeyID = idAt(t, keyIDPrefix, tooFar) }, "its key"},
		{"a time of the far future", func(e *Event) { e.At = tooFar }, "a time in it"},
		{"a time in 1970", func(e *Event) { e.At = time.Unix(1, 0) }, "a time in it"},
	} {
		event := Event{ID: idAt(t, eventIDPrefix, flawTime), At: flawTime, Operation: OpRevoke, WorkspaceID: "acme", KeyID: idAt(t, keyIDPrefix, flawTime)}
		test.change(&event)
		wantFlaw(t, test.name+", in range", event.Flaw(), "")
		wantFlaw(t, test.name, event.TimeFlaw(flawTime), test.want)
	}
}

// Whatever id there is, none that is made after it is refused.
func TestSortAfter_latest(t *testing.T) {
	ulids.Lock()
	before := ulids.last
	ulids.Unlock()
	t.Cleanup(func() {
		ulids.Lock()
		defer ulids.Unlock()
		ulids.last = before
	})
	SortAfter(idAt(t, eventIDPrefix, latest))
	key := flawless()
	wantFlaw(t, "a new key", key.Flaw(), "")
}
