package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"sync"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// Writing a record of each key every few seconds would cost a large part of what checking
// requests does. So recent counts are written for many keys together, are kept in memory to
// be shown, and are moved into the records of the keys now and then.
//
// It is not how many requests were added, but the totals of a day, which only grow. So it
// does no harm if some are in a record already, or are written again, or in another order.

const (
	// recentPrefix is followed by the day, something random and the origin.
	recentPrefix = "m/usage/"
	recentIDSize = 16
	// recentValueSize is how long a value may be: Badger keeps longer ones than a megabyte
	// elsewhere.
	recentValueSize = 64 << 10
	// maxRecentSize and maxRecentKeys are how much is moved into records at the latest:
	// it is read at startup, and kept in memory. At two thousand keys a second it is moved
	// every seven minutes.
	maxRecentSize = 16 << 20
	maxRecentKeys = 1 << 17
)

// countedDay is a day as it was counted under an origin.
type countedDay struct {
	origin string
	day    apikey.Day
}

// keyTotal is how often a key was used on a day.
type keyTotal struct {
	id    apikey.KeyIDBytes
	total apikey.Usage
}

// recentUsage is how often keys were used, as far as it is not in their records yet.
type recentUsage struct {
	writing sync.Mutex // held for the fields below, and by who changes totals
	names   [][]byte   // database keys
	size    int        // of their values
	// left says that there are totals that a crash has left. They may be older than those in
	// the records, if it interrupted a move, so nothing is added to them.
	left bool

	mu     sync.RWMutex
	totals map[countedDay]*dayTotals
}

// of returns the totals of some keys, by id.
func (r *recentUsage) of(keyIDs []string) map[string]map[countedDay]apikey.Usage {
	found := make(map[string]map[countedDay]apikey.Usage)
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, keyID := range keyIDs {
		id, _ := apikey.BytesOfKeyID(keyID)
		for one, totals := range r.totals {
			usage, counted := totals.of(id)
			if !counted {
				continue
			}
			if found[keyID] == nil {
				found[keyID] = make(map[countedDay]apikey.Usage)
			}
			found[keyID][one] = usage
		}
	}
	return found
}

// total returns the total of a key, if it is known.
func (r *recentUsage) total(one countedDay, id apikey.KeyIDBytes) (total apikey.Usage, known bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.totals[one].of(id)
}

// add adds totals, which may be older than what is known.
func (r *recentUsage) add(one countedDay, totals []keyTotal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.totals == nil {
		r.totals = make(map[countedDay]*dayTotals)
	}
	known := r.totals[one]
	if known == nil {
		known = newDayTotals(len(totals))
		r.totals[one] = known
	}
	for _, key := range totals {
		known.add(key.id, key.total)
	}
}

// forget removes keys that were deleted.
func (r *recentUsage) forget(keys []*apikey.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, key := range keys {
		id, _ := apikey.BytesOfKeyID(key.ID)
		for _, totals := range r.totals {
			totals.remove(id)
		}
	}
}

// due reports whether it is time to move it into the records. The caller holds writing.
func (r *recentUsage) due() bool {
	if r.left {
		return true
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	keys := 0
	for _, totals := range r.totals {
		keys += totals.len()
	}
	return keys >= maxRecentKeys || r.size >= maxRecentSize
}

// NoteUsage adds to how often keys were used. If it fails, it may be called again with the
// same counts and more: none is counted twice.
//
// Like NoteUses, it waits for no change.
func (s *Store) NoteUsage(more map[apikey.KeyDay]apikey.Usage) error {
	return s.noteUsage(func() (map[countedDay][]keyTotal, error) { return s.totalsWith(more) })
}

// noteUsage notes totals. Nobody else notes any from when they are asked for.
func (s *Store) noteUsage(ask func() (map[countedDay][]keyTotal, error)) error {
	r := &s.recent
	r.writing.Lock()
	defer r.writing.Unlock()
	if r.due() {
		if err := s.foldRecent(context.Background()); err != nil {
			return s.wrapInternal(err)
		}
	}
	totals, err := ask()
	if err != nil || len(totals) == 0 {
		return s.wrapInternal(err)
	}
	if err := s.writeRecent(totals); err != nil {
		return s.wrapInternal(err)
	}
	for one, totals := range totals {
		r.add(one, totals)
	}
	return nil
}

// totalsWith returns the store's own totals with something added to them.
func (s *Store) totalsWith(more map[apikey.KeyDay]apikey.Usage) (sums map[countedDay][]keyTotal, err error) {
	sums = make(map[countedDay][]keyTotal)
	pacer := durable.NewPacer(context.Background())
	err = s.db.View(func(txn *durable.Txn) error {
		for one, usage := range more {
			id, ok := apikey.BytesOfKeyID(one.KeyID)
			if !ok {
				continue
			}
			day := countedDay{s.origin, one.Day}
			known, recent := s.recent.total(day, id)
			if !recent {
				record, err := usageRecordAt(txn, usageName(day, one.KeyID))
				if err != nil {
					return err
				}
				known = record[one.Day%periodDays]
			}
			sums[day] = append(sums[day], keyTotal{id, known.Plus(usage)})
			if err := pacer.Step(); err != nil {
				return err
			}
		}
		return nil
	})
	return sums, err
}

// writeRecent writes totals. If it fails, it may have written some.
func (s *Store) writeRecent(all map[countedDay][]keyTotal) error {
	r := &s.recent
	return s.db.NoteAll(func(set func(key, value []byte) error) error {
		for one, totals := range all {
			value := make([]byte, 0, min(recentValueSize, 24*len(totals)))
			write := func() error {
				name := recentName(one)
				r.names, r.size = append(r.names, name), r.size+len(value)
				return set(name, bytes.Clone(value))
			}
			for _, key := range totals {
				if value = apikey.AppendKeyUsage(value, key.id, key.total); len(value) < recentValueSize-100 {
					continue
				}
				if err := write(); err != nil {
					return err
				}
				value = value[:0]
			}
			if err := write(); err != nil {
				return err
			}
		}
		return nil
	})
}

// loadRecentUsage reads what was not moved into the records before the process ended.
func (s *Store) loadRecentUsage(txn *durable.Txn) error {
	r := &s.recent
	for name, value := range txn.Below([]byte(recentPrefix)) {
		r.names, r.size, r.left = append(r.names, bytes.Clone(name)), r.size+len(value), true
		if one, ok := splitRecentName(name); ok {
			r.add(one, totalsIn(value))
		}
	}
	return nil
}

// totalsIn decodes a value. What cannot be read counts as nothing, as with usageIn.
func totalsIn(value []byte) (totals []keyTotal) {
	for len(value) > 0 {
		id, total, rest, ok := apikey.CutKeyUsage(value)
		if !ok {
			break
		}
		totals, value = append(totals, keyTotal{id, total}), rest
	}
	return totals
}

func recentName(one countedDay) []byte {
	name := binary.BigEndian.AppendUint32([]byte(recentPrefix), uint32(one.day))
	return append(append(name, rand.Text()[:recentIDSize]...), one.origin...)
}

func splitRecentName(name []byte) (one countedDay, ok bool) {
	rest := name[len(recentPrefix):]
	if len(rest) < 4+recentIDSize {
		return one, false
	}
	return countedDay{string(rest[4+recentIDSize:]), apikey.Day(binary.BigEndian.Uint32(rest))}, true
}
