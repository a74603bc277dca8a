package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

var inUseWithin = [...]time.Duration{oneDay, 7 * oneDay}

// usedWithin is how recently a key must have been used to count as in use.
const usedWithin = 7 * oneDay

// missedKeys counts the active keys that will be missed when they end: they are
// in use, and nothing active replaces them.
type missedKeys struct {
	txn    reader
	now    time.Time
	uses   *durable.Cursor
	batch  []endingKey
	counts map[time.Duration]int
}

type endingKey struct {
	id string
	ending
}

// ExpiringInUse counts the active keys that end within 24 hours, and within 7 days, and
// were used in the last 7 days but have no active replacement.
//
// It looks at each key that ends within 7 days, and at its last use. For a million keys
// that live for 90 days, this takes a second.
func (s *Store) ExpiringInUse(ctx context.Context, now time.Time) (counts map[time.Duration]int, err error) {
	err = s.view(func(txn *durable.Txn) error {
		counts, err = countMissed(ctx, txn, now)
		return err
	})
	return counts, err
}

func countMissed(ctx context.Context, txn *durable.Txn, now time.Time) (map[time.Duration]int, error) {
	m := &missedKeys{txn: txn, now: now, counts: make(map[time.Duration]int)}
	for _, within := range inUseWithin {
		m.counts[within] = 0
	}
	m.uses = txn.Cursor(lastUsedKey(""))
	defer m.uses.Close()
	last := now.Add(slices.Max(inUseWithin[:]))
	if err := eachEnding(ctx, txn, toMillis(now)+1, toMillis(last)+1, m.add); err != nil {
		return nil, err
	}
	return m.counts, m.countBatch()
}

// maxBatch is the maximum number of keys held in memory.
const maxBatch = 1000

func (m *missedKeys) add(e ending, keyID string) error {
	m.batch = append(m.batch, endingKey{keyID, e})
	if len(m.batch) < maxBatch {
		return nil
	}
	return m.countBatch()
}

// countBatch goes through the keys in the order of their ids, which is also that of the
// notes of their uses: moving from note to note is far cheaper than looking each one
// up.
func (m *missedKeys) countBatch() error {
	slices.SortFunc(m.batch, func(a, b endingKey) int { return strings.Compare(a.id, b.id) })
	for _, key := range m.batch {
		missed, err := m.isMissed(key)
		if err != nil {
			return err
		}
		if missed {
			m.count(key.at)
		}
	}
	m.batch = m.batch[:0]
	return nil
}

func (m *missedKeys) count(end millis) {
	for _, within := range inUseWithin {
		if end <= toMillis(m.now.Add(within)) {
			m.counts[within]++
		}
	}
}

func (m *missedKeys) isMissed(key endingKey) (bool, error) {
	if used := m.lastUse(key.id); used.IsZero() || used.Before(m.now.Add(-usedWithin)) {
		return false, nil
	}
	if !key.replaced {
		return true, nil
	}
	record, err := keyByID(m.txn, key.id)
	if err != nil {
		return false, err
	}
	_, replacement, err := relatives(m.txn, record, m.now)
	return replacement == "", err
}

// lastUse returns when a key was last used; zero if never.
func (m *missedKeys) lastUse(keyID string) time.Time {
	note, _ := m.uses.At(lastUsedKey(keyID))
	return noteIn(note).At
}
