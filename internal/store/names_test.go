package store

import (
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A clock that was set forward ends no key for good: its name stays taken and
// it stays counted, so that there are no two of one name, and no more than
// allowed, when the clock is right again.
func TestNames_clockSetForward(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start})
	key := newKey("acme", "Zapier", start)
	key.ExpiresAt = start.Add(day)
	mustApply(t, s, start, apikey.Create{Key: key})

	forward := start.Add(2 * day)
	refused(t, s, forward, apikey.Create{Key: newKey("acme", "zapier", forward)}, apikey.ErrNameTaken)
	refused(t, s, forward, apikey.Create{Key: newKey("acme", "Other", forward), MaxActive: 1}, apikey.ErrTooManyKeys)
	right := start.Add(time.Hour)
	refused(t, s, right, apikey.Create{Key: newKey("acme", "Zapier", right)}, apikey.ErrNameTaken)

	// When as much time has really passed, the name is free.
	noteClock(t, s, apikey.ClockNote{Confirmed: forward})
	mustApply(t, s, forward, apikey.Create{Key: newKey("acme", "Zapier", forward), MaxActive: 1})
}

// What ends between two marks has ended: nobody waits for the next.
func TestNames_betweenMarks(t *testing.T) {
	s := openNew(t)
	noteClock(t, s, apikey.ClockNote{Confirmed: start})
	key := newKey("acme", "Zapier", start)
	key.ExpiresAt = start.Add(time.Second)
	mustApply(t, s, start, apikey.Create{Key: key})
	mustApply(t, s, start.Add(2*time.Second), apikey.Create{Key: newKey("acme", "Zapier", start)})
}
