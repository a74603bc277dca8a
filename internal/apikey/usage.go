package apikey

import (
	"encoding/binary"
	"time"

	"github.com/oklog/ulid/v2"
)

// UsageDays is for how many days it is kept how often a key was used, today included.
const UsageDays = 90

// Day is a day, UTC, as the number of days since 1970-01-01.
type Day int32

const dayMillis = int64(24 * time.Hour / time.Millisecond)

// DayOf returns the day of a time.
func DayOf(at time.Time) Day { return DayOfMillis(at.UnixMilli()) }

// DayOfMillis returns the day of a time in milliseconds since 1970.
func DayOfMillis(at int64) Day { return Day(max(at, 0) / dayMillis) }

// String returns the day as in 2026-11-29.
func (d Day) String() string { return time.UnixMilli(int64(d) * dayMillis).UTC().Format(time.DateOnly) }

// Usage is how many requests there were with a key.
type Usage struct {
	Reads  uint64
	Writes uint64
	// Refused are those that were refused because the key had expired or was revoked, its
	// workspace was suspended, a browser sent them, or the key may only read.
	Refused uint64
	// RateLimited are those that a limit refused.
	RateLimited uint64
}

// Plus returns the sum of two counts.
func (u Usage) Plus(other Usage) Usage {
	return Usage{u.Reads + other.Reads, u.Writes + other.Writes, u.Refused + other.Refused, u.RateLimited + other.RateLimited}
}

// Latest returns what two counts of the same requests say together, one of which may be
// out of date: counts only grow.
func (u Usage) Latest(other Usage) Usage {
	return Usage{max(u.Reads, other.Reads), max(u.Writes, other.Writes), max(u.Refused, other.Refused), max(u.RateLimited, other.RateLimited)}
}

// Append encodes the counts at the end of b.
func (u Usage) Append(b []byte) []byte {
	for _, n := range [...]uint64{u.Reads, u.Writes, u.Refused, u.RateLimited} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// CutUsage decodes the counts at the beginning of b, and returns what follows them.
func CutUsage(b []byte) (u Usage, rest []byte, ok bool) {
	for _, n := range [...]*uint64{&u.Reads, &u.Writes, &u.Refused, &u.RateLimited} {
		size := 0
		if *n, size = binary.Uvarint(b); size <= 0 {
			return Usage{}, nil, false
		}
		b = b[size:]
	}
	return u, b, true
}

// AppendKeyUsage encodes the counts of a key at the end of b: the bytes of its id, and then
// the counts.
func AppendKeyUsage(b []byte, id KeyIDBytes, u Usage) []byte { return u.Append(append(b, id[:]...)) }

// CutKeyUsage decodes what AppendKeyUsage has encoded at the beginning of b, and returns
// what follows it.
func CutKeyUsage(b []byte) (id KeyIDBytes, u Usage, rest []byte, ok bool) {
	if len(b) < len(id) {
		return id, Usage{}, nil, false
	}
	u, rest, ok = CutUsage(b[copy(id[:], b):])
	return id, u, rest, ok
}

// KeyDay is a day of a key.
type KeyDay struct {
	KeyID string
	Day   Day
}

// DayUsage is how often a key was used on a day.
type DayUsage struct {
	Day Day
	Usage
}

// UsageNote is what a gateway of a fleet has to know after a restart about how often keys
// were used.
type UsageNote struct {
	// Untold are the origins of counts of this gateway that the others may not know. Each
	// start is an origin of its own, so that two gateways with copies of one store never
	// count under the same; "" is for what the store had counted before it belonged to a
	// fleet.
	Untold []string `json:"untold"`
	// Merged is the revision of etcd up to which this gateway knows the counts of others.
	Merged int64 `json:"merged"`
}

// KeyIDBytes is a key id in sixteen bytes.
type KeyIDBytes [16]byte

// BytesOfKeyID returns a key id as bytes, if it is one.
func BytesOfKeyID(id string) (KeyIDBytes, bool) {
	b, ok := parseID(id, keyIDPrefix)
	return KeyIDBytes(b), ok
}

// String is the inverse of BytesOfKeyID.
func (b KeyIDBytes) String() string { return keyIDPrefix + ulid.ULID(b).String() }
