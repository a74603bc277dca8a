package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// How often a key was used is kept by periods of sixteen days. A record for each day would
// be ninety for a key that is in use; one for all days would be long, and is written every
// few seconds. The period comes first in the database key, so that what is too old is
// found without looking at the rest.

const (
	usagePrefix = "z/"
	periodDays  = 16
	periodSize  = 4                // of a period in a database key
	keyIDSize   = len("key_") + 26 // of the id of a key
	// usageAtOnce is the maximum number of records that one transaction deletes.
	usageAtOnce = 1000
)

type period uint32

func periodOf(day apikey.Day) period { return period(day / periodDays) }

func (p period) day(i int) apikey.Day { return apikey.Day(int(p)*periodDays + i) }

// usageKey returns where a key's usage in a period is, after which its origin follows: see
// usage_shared.go.
func usageKey(p period, keyID string) []byte {
	key := binary.BigEndian.AppendUint32([]byte(usagePrefix), uint32(p))
	return append(key, keyID...)
}

// usageName returns where a key's usage of a day is.
func usageName(one countedDay, keyID string) []byte {
	return append(usageKey(periodOf(one.day), keyID), one.origin...)
}

// splitUsageKey is the inverse of usageKey, with an origin.
func splitUsageKey(key []byte) (p period, keyID, origin string, ok bool) {
	rest := key[len(usagePrefix):]
	if len(rest) < periodSize+keyIDSize {
		return 0, "", "", false
	}
	p, rest = period(binary.BigEndian.Uint32(rest)), rest[periodSize:]
	return p, string(rest[:keyIDSize]), string(rest[keyIDSize:]), true
}

// usageRecord is how often a key was used on each day of a period.
type usageRecord [periodDays]apikey.Usage

func (r *usageRecord) add(day apikey.Day, usage apikey.Usage) {
	r[day%periodDays] = r[day%periodDays].Plus(usage)
}

// encode returns the days on which the key was used, each as its number in the period
// and its counts.
func (r *usageRecord) encode() (value []byte) {
	for i, usage := range r {
		if usage != (apikey.Usage{}) {
			value = usage.Append(append(value, byte(i)))
		}
	}
	return value
}

// usageIn decodes a record. What cannot be read counts as nothing: it must not prevent a
// key from being counted and shown.
func usageIn(value []byte) (r usageRecord) {
	for len(value) > 0 && value[0] < periodDays {
		usage, rest, ok := apikey.CutUsage(value[1:])
		if !ok {
			break
		}
		r[value[0]], value = usage, rest
	}
	return r
}

// usageRecordAt returns the record with a database key, an empty one if there is none.
func usageRecordAt(txn reader, name []byte) (usageRecord, error) {
	value, err := txn.Get(name)
	return usageIn(value), ignoreNotFound(err)
}

// Usage returns how often keys of a workspace were used on the days from one to another,
// by id: oldest first, and without the days on which they were not. Keys that the
// workspace does not have are left out.
func (s *Store) Usage(ctx context.Context, workspaceID string, keyIDs []string, from, to apikey.Day) (usage map[string][]apikey.DayUsage, err error) {
	usage = make(map[string][]apikey.DayUsage, len(keyIDs))
	recent := s.recent.of(keyIDs) // before the records are read, into which it may be moving
	pacer := durable.NewPacer(ctx)
	err = s.view(func(txn *durable.Txn) error {
		for _, id := range keyIDs {
			if _, repeated := usage[id]; repeated {
				continue
			}
			_, err := keyInWorkspace(txn, workspaceID, id)
			if errors.Is(err, apikey.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			usage[id] = usageOf(txn, id, recent[id], from, to)
			if err := pacer.Step(); err != nil {
				return err
			}
		}
		return nil
	})
	return usage, err
}

// usageOf returns how often a key was used on the days from one to another. What is recent
// may be in its records too, in full or in part.
func usageOf(txn reader, keyID string, recent map[countedDay]apikey.Usage, from, to apikey.Day) (days []apikey.DayUsage) {
	for p := periodOf(from); p <= periodOf(to); p++ {
		var sum usageRecord
		for name, value := range txn.Below(usageKey(p, keyID)) {
			_, _, origin, _ := splitUsageKey(name)
			for i, usage := range usageIn(value) {
				one := countedDay{origin, p.day(i)}
				sum[i] = sum[i].Plus(usage.Latest(recent[one]))
				delete(recent, one)
			}
		}
		for one, usage := range recent {
			if periodOf(one.day) == p {
				sum.add(one.day, usage)
			}
		}
		for i, usage := range sum {
			if day := p.day(i); usage != (apikey.Usage{}) && day >= from && day <= to {
				days = append(days, apikey.DayUsage{Day: day, Usage: usage})
			}
		}
	}
	return days
}

// ForgetUsage deletes how often keys were used in periods that ended more than
// [apikey.UsageDays] ago, after it has moved what is recent into the records. That takes as
// many short transactions as it needs. Call it every hour.
func (s *Store) ForgetUsage(ctx context.Context, now time.Time) error {
	if err := s.foldUsage(ctx); err != nil {
		return err
	}
	pacer := durable.NewPacer(ctx)
	next, end := []byte(usagePrefix), usageKey(periodOf(max(apikey.DayOf(now)-apikey.UsageDays+1, 0)), "")
	for {
		old, err := s.usageBetween(ctx, next, end)
		if err != nil || len(old) == 0 {
			return err
		}
		err = s.wrapInternal(s.db.Note(func(txn *durable.Txn) error { return deleteAll(txn, old) }))
		if err == nil {
			err = pacer.Rest()
		}
		if err != nil {
			return err
		}
		next = old[len(old)-1] // which is gone: to start at the beginning means to skip all that was deleted
	}
}

// usageBetween returns the first database keys from one to another.
func (s *Store) usageBetween(ctx context.Context, from, to []byte) (found [][]byte, err error) {
	err = s.view(func(txn *durable.Txn) error {
		return eachFrom(ctx, txn, from, to, func(key, _ []byte) error {
			if len(found) == usageAtOnce {
				return errEnough
			}
			found = append(found, bytes.Clone(key))
			return nil
		})
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

func deleteAll(txn *durable.Txn, keys [][]byte) (err error) {
	for _, key := range keys {
		err = errors.Join(err, txn.Delete(key))
	}
	return err
}

// usageKeysOf returns the database keys of the usage of some keys.
func usageKeysOf(txn reader, keys []*apikey.Key, now time.Time) (found [][]byte) {
	today := apikey.DayOf(now)
	for p := periodOf(max(today-apikey.UsageDays, 0)); p <= periodOf(today); p++ {
		for _, key := range keys {
			for entry := range txn.Below(usageKey(p, key.ID)) {
				found = append(found, bytes.Clone(entry))
			}
		}
	}
	return found
}
