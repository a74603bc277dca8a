package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// tallied is all that the store counts.
type tallied struct {
	Census
	inUse map[time.Duration]int
}

// census counts the keys of the model, by looking at each of them.
func (m *model) census(now time.Time) tallied {
	c := tallied{inUse: map[time.Duration]int{day: 0, 7 * day: 0}, Census: Census{
		Keys: map[apikey.Status]map[apikey.Preset]int{
			apikey.Active:  {apikey.FullAccess: 0, apikey.ReadOnly: 0},
			apikey.Expired: {apikey.FullAccess: 0, apikey.ReadOnly: 0},
			apikey.Revoked: {apikey.FullAccess: 0, apikey.ReadOnly: 0},
		},
		Expiring:            map[time.Duration]int{day: 0, 7 * day: 0, 14 * day: 0, 30 * day: 0},
		SuspendedWorkspaces: len(m.workspaces),
	}}
	for _, key := range m.keys {
		c.Keys[key.Status(now)][key.Preset]++
		if key.Status(now) != apikey.Active {
			continue
		}
		left := key.ActiveUntil().Sub(now)
		for within := range c.Expiring {
			if left <= within {
				c.Expiring[within]++
			}
		}
		inUse := !key.LastUsedAt.IsZero() && now.Sub(key.LastUsedAt) <= 7*day
		for within := range c.inUse {
			if left <= within && inUse && !m.replaced(key, now) {
				c.inUse[within]++
			}
		}
	}
	return c
}

func census(t testing.TB, s *Store, now time.Time) tallied {
	t.Helper()
	c, err := s.count(t.Context(), now)
	if err != nil {
		t.Fatalf("got error %v, want counts", err)
	}
	return c
}

func (s *Store) count(ctx context.Context, now time.Time) (c tallied, err error) {
	if c.Census, err = s.Census(ctx, now); err != nil {
		return c, err
	}
	c.inUse, err = s.ExpiringInUse(ctx, now)
	return c, err
}

func TestCensus_ofNone(t *testing.T) {
	equal(t, "census", census(t, openNew(t), start), (&model{}).census(start))
}

// A key that expires, and one that a rotation revokes: what they count as around
// the instant at which they end.
func TestCensus_atTheInstant(t *testing.T) {
	s := openNew(t)
	expiring, replaced := newKey("acme", "Zapier", start), newKey("acme", "Billing", start)
	expiring.Preset, expiring.ExpiresAt = apikey.FullAccess, start.Add(30*time.Hour)
	mustApply(t, s, start, apikey.Create{Key: expiring})
	mustApply(t, s, start, apikey.Create{Key: replaced})
	do := rotation(replaced, start)
	do.RevokeOldAt = start.Add(30 * time.Hour)
	mustApply(t, s, start, do)

	const ms = time.Millisecond
	for _, test := range []struct {
		after                    time.Duration
		active, expired, revoked int
		withinADay, withinAWeek  int
	}{
		{0, 3, 0, 0, 0, 2},
		{6*time.Hour - ms, 3, 0, 0, 0, 2},
		{6 * time.Hour, 3, 0, 0, 2, 2},
		{30*time.Hour - ms, 3, 0, 0, 2, 2},
		{30*time.Hour - 1, 3, 0, 0, 2, 2}, // a nanosecond before
		{30 * time.Hour, 1, 1, 1, 0, 0},
		{30*time.Hour + ms, 1, 1, 1, 0, 0},
		{life, 0, 2, 1, 0, 0},
	} {
		c := census(t, s, start.Add(test.after))
		equal(t, fmt.Sprintf("active after %v", test.after), total(c.Keys[apikey.Active]), test.active)
		equal(t, fmt.Sprintf("expired after %v", test.after), total(c.Keys[apikey.Expired]), test.expired)
		equal(t, fmt.Sprintf("revoked after %v", test.after), total(c.Keys[apikey.Revoked]), test.revoked)
		equal(t, fmt.Sprintf("ending within a day after %v", test.after), c.Expiring[day], test.withinADay)
		equal(t, fmt.Sprintf("ending within a week after %v", test.after), c.Expiring[7*day], test.withinAWeek)
	}
}

func total(byPreset map[apikey.Preset]int) (n int) {
	for _, of := range byPreset {
		n += of
	}
	return n
}

// Keys that end within a week, and which of them will be missed.
func TestCensus_expiringInUse(t *testing.T) {
	now := start.Add(10 * day)
	for _, test := range []struct {
		title    string
		lastUsed time.Time // zero: never
		rotated  bool
		left     time.Duration // of its replacement
		want     int
	}{
		{"never used", time.Time{}, false, 0, 0},
		{"used now", now, false, 0, 1},
		{"used a week ago", now.Add(-7 * day), false, 0, 1},
		{"used more than a week ago", now.Add(-7*day - time.Millisecond), false, 0, 0},
		{"used, and replaced", now, true, day, 0},
		{"used, and replaced by a key that has expired", now, true, -time.Millisecond, 1},
	} {
		t.Run(test.title, func(t *testing.T) {
			s := openNew(t)
			key := newKey("acme", "Zapier", start)
			key.ExpiresAt = now.Add(7 * day)
			mustApply(t, s, start, apikey.Create{Key: key})
			if test.rotated {
				do := rotation(key, start)
				do.Replacement.ExpiresAt = now.Add(test.left)
				mustApply(t, s, start, do)
			}
			if !test.lastUsed.IsZero() {
				mustNote(t, s, map[string]time.Time{key.ID: test.lastUsed})
			}
			equal(t, "in use", census(t, s, now).inUse, map[time.Duration]int{day: 0, 7 * day: test.want})
		})
	}
}

// More keys than are held in memory at once, which end in another order than they
// were made in, and only some of which were used.
func TestCensus_manyInUse(t *testing.T) {
	s := openNew(t)
	m := &model{keys: make([]apikey.Key, 2*maxBatch+100)}
	uses := map[string]time.Time{}
	for i := range m.keys {
		key := newKey("acme", fmt.Sprint("Key ", i), start.Add(time.Duration(i)*time.Second))
		key.ExpiresAt = start.Add(day + time.Duration(i*7919%len(m.keys))*5*time.Minute)
		if i%50 < 3 || i%7 == 0 {
			key.LastUsedAt = start
			uses[key.ID] = start
		}
		m.keys[i] = key
	}
	putKeys(t, s, m.keys)
	mustNote(t, s, uses)
	for _, now := range []time.Time{start, start.Add(2 * day), start.Add(5 * day), start.Add(9 * day)} {
		equal(t, "census at "+now.String(), census(t, s, now), m.census(now))
	}
}

// A count that is damaged is said to be, and keeps nobody from revoking a key.
func TestCensus_damaged(t *testing.T) {
	for _, test := range []struct {
		title string
		key   func(end millis, id string) []byte
		later time.Duration // when it is read: from a minute on, by the minute
	}{
		{"the count of a day", func(end millis, _ string) []byte { return timeKey(days.prefix, days.begin(end)) }, 0},
		{"the count of a minute", func(end millis, _ string) []byte { return timeKey(minutes.prefix, minutes.begin(end)) }, time.Minute},
		{"the entry of a key", func(end millis, id string) []byte { return endKey(ending{at: end}, id) }, 0},
	} {
		t.Run(test.title, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			plant(t, s, test.key(toMillis(key.ExpiresAt), key.ID), []byte{0xff})
			if _, err := s.Census(t.Context(), key.ExpiresAt.Add(test.later)); !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Errorf("Census: got error %v, want %v", err, apikey.ErrStoreUnavailable)
			}
			mustRevoke(t, s, key, start)
			equal(t, "counts", counts(t, s, "acme", start), [3]int{0, 0, 1})
		})
	}
}

func TestCensus_closed(t *testing.T) {
	s := openNew(t)
	closeStore(t, s)
	if _, err := s.Census(t.Context(), start); !errors.Is(err, apikey.ErrStoreUnavailable) {
		t.Errorf("Census: got error %v, want %v", err, apikey.ErrStoreUnavailable)
	}
}

// interesting returns the instants at which what counts changes, and those just
// before and after them.
func (m *model) interesting() (instants []time.Time) {
	for _, key := range m.keys {
		for _, before := range []time.Duration{0, day, 7 * day, 14 * day, 30 * day} {
			instants = append(instants, key.ActiveUntil().Add(-before))
		}
		if !key.LastUsedAt.IsZero() {
			instants = append(instants, key.LastUsedAt.Add(7*day))
		}
	}
	for _, at := range slices.Clone(instants) {
		instants = append(instants, at.Add(-time.Millisecond), at.Add(time.Millisecond))
	}
	return instants
}
