package store

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"time"

	"github.com/agiled/caddy-api-keys/internal/durable"
)

// A span is a unit of time, such as a day. There is a tally of the keys that end in
// each day or minute.
type span struct {
	prefix string
	length millis
}

var (
	days    = span{"c/d/", millis(24 * time.Hour / time.Millisecond)}
	minutes = span{"c/m/", millis(time.Minute / time.Millisecond)}
)

// begin returns the start of the span that contains a time.
func (s span) begin(at millis) millis { return at - at%s.length }

// A tally counts keys by class.
type tally [len(classes)]int64

var errTally = errors.New("a count of keys is damaged")

func (t tally) encode() (value []byte) {
	for _, n := range t {
		value = binary.AppendVarint(value, n)
	}
	return value
}

func decodeTally(value []byte) (t tally, err error) {
	for i := range t {
		n, size := binary.Varint(value)
		if size <= 0 {
			return tally{}, errTally
		}
		t[i], value = n, value[size:]
	}
	return t, nil
}

func (t *tally) add(other tally) {
	for i, n := range other {
		t[i] += n
	}
}

func (t tally) sum() (n int64) {
	for _, of := range t {
		n += of
	}
	return n
}

// count adds n to the tallies of the keys that end like e.
func count(txn *transaction, e ending, n int64) error {
	var errs []error
	for _, span := range []span{days, minutes} {
		errs = append(errs, addTo(txn, timeKey(span.prefix, span.begin(e.at)), e.class, n))
	}
	return errors.Join(errs...)
}

// addTo adds to one of the tallies. It leaves a damaged one alone: whatever counts the
// keys will report it, and it must not prevent a revocation.
func addTo(txn *transaction, key []byte, class int, n int64) error {
	t, err := tallyAt(txn, key)
	if errors.Is(err, errTally) {
		return nil
	}
	if err != nil {
		return err
	}
	t[class] += n
	if t == (tally{}) {
		return txn.Delete(key)
	}
	return txn.Set(key, t.encode())
}

func tallyAt(txn reader, key []byte) (t tally, err error) {
	value, err := txn.Get(key)
	if errors.Is(err, durable.ErrNotFound) {
		return tally{}, nil
	}
	if err != nil {
		return tally{}, err
	}
	return decodeTally(value)
}

// ends has the number of keys that have ended by any time.
type ends struct {
	ctx   context.Context
	txn   reader
	daily []dailyTally
}

// dailyTally is the number of keys that end on one day.
type dailyTally struct {
	begin millis
	tally tally
}

func readEnds(ctx context.Context, txn reader) (*ends, error) {
	e := &ends{ctx: ctx, txn: txn}
	err := eachTally(ctx, txn, days, 0, math.MaxInt64, func(begin millis, t tally) {
		e.daily = append(e.daily, dailyTally{begin, t})
	})
	return e, err
}

// total counts all keys, whenever they end.
func (e *ends) total() (sum tally) {
	for _, day := range e.daily {
		sum.add(day.tally)
	}
	return sum
}

// by counts the keys that have ended by a time: on earlier days, in earlier minutes of
// that day, and one by one in the last minute.
func (e *ends) by(now time.Time) (sum tally, err error) {
	at := max(toMillis(now), 0)
	for _, day := range e.daily {
		if day.begin < days.begin(at) {
			sum.add(day.tally)
		}
	}
	err = eachTally(e.ctx, e.txn, minutes, days.begin(at), minutes.begin(at), func(_ millis, t tally) { sum.add(t) })
	if err != nil {
		return tally{}, err
	}
	err = eachEnding(e.ctx, e.txn, minutes.begin(at), at+1, func(e ending, _ string) error {
		sum[e.class]++
		return nil
	})
	return sum, err
}

// eachTally calls visit for the tally of each span that begins between from, inclusive,
// and to, exclusive.
func eachTally(ctx context.Context, txn reader, s span, from, to millis, visit func(begin millis, t tally)) error {
	return eachFrom(ctx, txn, timeKey(s.prefix, from), timeKey(s.prefix, to), func(key, value []byte) error {
		t, err := decodeTally(value)
		if err == nil {
			visit(millis(binary.BigEndian.Uint64(key[len(s.prefix):])), t)
		}
		return err
	})
}
