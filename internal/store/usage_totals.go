package store

import (
	"math"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// dayTotals are the totals of keys on a day. There are many of them, so those that fit into 16
// bits, which are nearly all, take half as much memory as the others. Each key is in one of the
// two.
type dayTotals struct {
	small map[apikey.KeyIDBytes][4]uint16
	large map[apikey.KeyIDBytes]apikey.Usage
}

// newDayTotals returns none, with room for some.
func newDayTotals(room int) *dayTotals {
	return &dayTotals{small: make(map[apikey.KeyIDBytes][4]uint16, room)}
}

// of returns the total of a key, if it is known. A nil *dayTotals has none.
func (d *dayTotals) of(id apikey.KeyIDBytes) (total apikey.Usage, known bool) {
	if d == nil {
		return total, false
	}
	if n, known := d.small[id]; known {
		return apikey.Usage{Reads: uint64(n[0]), Writes: uint64(n[1]), Refused: uint64(n[2]), RateLimited: uint64(n[3])}, true
	}
	total, known = d.large[id]
	return total, known
}

// add adds a total, which may be older than what is known.
func (d *dayTotals) add(id apikey.KeyIDBytes, total apikey.Usage) {
	known, _ := d.of(id)
	total = known.Latest(total)
	if max(total.Reads, total.Writes, total.Refused, total.RateLimited) <= math.MaxUint16 {
		d.small[id] = [...]uint16{uint16(total.Reads), uint16(total.Writes), uint16(total.Refused), uint16(total.RateLimited)}
		return
	}
	delete(d.small, id)
	if d.large == nil {
		d.large = make(map[apikey.KeyIDBytes]apikey.Usage)
	}
	d.large[id] = total
}

func (d *dayTotals) remove(id apikey.KeyIDBytes) {
	delete(d.small, id)
	delete(d.large, id)
}

// keys returns the keys whose totals are known.
func (d *dayTotals) keys() (ids []apikey.KeyIDBytes) {
	for id := range d.small {
		ids = append(ids, id)
	}
	for id := range d.large {
		ids = append(ids, id)
	}
	return ids
}

func (d *dayTotals) len() int { return len(d.small) + len(d.large) }
