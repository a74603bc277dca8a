package store

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// verifier compares records, indexes and counts. Everything that follows from a record
// must be there, and the numbers must match: so each entry of an index belongs to a
// record.
type verifier struct {
	ctx     context.Context
	txn     *durable.Txn
	pacer   *durable.Pacer
	sums    *indexSums      // nil if each entry is looked up
	slots   *durable.Cursor // of the slots of current keys, in the order of the keys
	wrong   findings
	foreign findings // records that no API call can have created

	keys, events int
	rosters      map[string]roster // by workspace
	current      int               // keys
	folded       bool              // the lists of names are up to date: see refoldNames
	confirmed    millis
	ofWorkspaces int // events that are about a workspace
	feeds        int
	endedFeeds   int
	daily        map[millis]tally // by the start of the day
	minutely     map[millis]tally
}

// findings is the number of findings, and the first one.
type findings struct {
	n     int
	first string
}

func (f *findings) add(format string, args ...any) {
	if f.n++; f.n == 1 {
		f.first = fmt.Sprintf(format, args...)
	}
}

func (v *verifier) say(format string, args ...any) { v.wrong.add(format, args...) }

// flaw records a flaw in a record, if there is one.
func (v *verifier) flaw(what, id, flaw string) {
	if flaw != "" {
		v.foreign.add("in the record of the %s %.100q, %s", what, id, flaw)
	}
}

func (v *verifier) all() error {
	v.daily, v.minutely, v.rosters = make(map[millis]tally), make(map[millis]tally), make(map[string]roster)
	var err error
	if v.confirmed, err = confirmedTime(v.txn); err != nil {
		return err
	}
	if v.folded, err = foldedNames(v.txn); err != nil {
		return err
	}
	v.slots = v.txn.Cursor(slotKey(""))
	defer v.slots.Close()
	return errors.Join(
		v.each("k/", v.key),
		v.each("a/", v.event),
		v.each("s/", v.suspension),
		v.each("g/", v.feed),
		v.each(feedPrefix, v.feedState),
		v.each(tombstonePrefix, v.tombstone),
		v.each(messagePrefix, v.message),
		v.each(string(scheduleKey), v.schedule),
		v.each("q/", v.roster),
		v.each("n/", v.names),
		v.each("r/", func(list, value []byte) error { return v.members(list, value, familyOf) }),
		v.tallies(days, v.daily),
		v.tallies(minutes, v.minutely),
		v.number(digestPrefix, v.keys), v.number("w/", v.keys), v.number(endPrefix, v.keys),
		v.number("q/", len(v.rosters)), v.number("x/", v.current), v.number("y/", v.current), v.number("d/", v.keys-v.current),
		v.number("b/", v.ofWorkspaces), v.number(feedPrefix, v.feeds+v.endedFeeds), v.number(endedFeedPrefix, v.endedFeeds),
	)
}

func (v *verifier) each(prefix string, visit func(key, value []byte) error) error {
	return each(v.txn, []byte(prefix), func(key, value []byte) error {
		if err := v.pacer.Step(); err != nil {
			return err
		}
		return visit(key, value)
	})
}

// number checks the number of entries in an index.
func (v *verifier) number(prefix string, want int) error {
	n, err := v.entries(prefix)
	if n != want {
		v.say("the index %s has %d entries, and should have %d", prefix, n, want)
	}
	return err
}

// entry checks that an index has an entry.
func (v *verifier) entry(key []byte, want string) {
	if v.sums != nil {
		v.sums.expect(key, []byte(want))
		return
	}
	switch value, err := v.txn.Get(key); {
	case err != nil:
		v.say("the index has no %q: %v", key, err)
	case string(value) != want:
		v.say("the index has %q for %q, and should have %q", value, key, want)
	}
}

func (v *verifier) roster(key, _ []byte) error {
	ws := string(key[len("q/")+1:])
	if got, err := loadRoster(v.txn, ws); err != nil || got != v.rosters[ws] {
		v.say("the count of the workspace %q is %+v keys, and should be %+v (%v)", ws, got, v.rosters[ws], err)
	}
	return nil
}

func (v *verifier) event(key, value []byte) error {
	v.events++
	var r eventRecord
	if err := decode(key, value, &r); err != nil {
		v.say("%v", err)
		return nil
	}
	if id := string(key[len("a/"):]); r.ID != id {
		v.say("the record of the event %s belongs to another event", id)
	} else {
		event := r.event()
		v.flaw("event", event.ID, event.Flaw())
	}
	if r.WorkspaceID != "" {
		v.ofWorkspaces++
		v.entry(eventIndexKey(r.WorkspaceID, r.ID), "")
	}
	return nil
}

func (v *verifier) suspension(key, _ []byte) error {
	ws, err := workspaceByID(v.txn, string(key[len("s/")+1:]))
	if err != nil {
		v.say("%v", err)
		return nil
	}
	v.flaw("suspension of", ws.ID, ws.Flaw())
	return nil
}

func (v *verifier) feed(key, value []byte) error {
	v.feeds++
	ws := string(key[len("g/")+1:])
	var r feedRecord
	if err := decode(key, value, &r); err == nil {
		v.flaw("calendar feed of", ws, r.flaw())
	}
	digest, err := feedOf(v.txn, ws)
	if err != nil {
		v.say("%v", err)
		return nil
	}
	v.entry(feedKey(digest), string(feedState{WorkspaceID: ws}.encode()))
	return nil
}

// feedState checks that an ended calendar feed is in the index of ended feeds. Open
// ones are checked with the records of their workspaces.
func (v *verifier) feedState(key, value []byte) error {
	var state feedState
	digest := key[len(feedPrefix):]
	switch err := decode(key, value, &state); {
	case err != nil:
		v.say("%v", err)
	case len(digest) != len(apikey.Digest{}):
		v.say("the calendar feed %q has no digest", key)
	case state.EndedAt != 0:
		v.endedFeeds++
		v.entry(key, string(value))
		v.entry(endedFeedKey(state.EndedAt, apikey.Digest(digest)), "")
	}
	return nil
}

// tallies checks the counts of keys by their ends.
func (v *verifier) tallies(s span, want map[millis]tally) error {
	n := 0
	err := eachTally(v.ctx, v.txn, s, 0, math.MaxInt64, func(begin millis, t tally) {
		if n++; t != want[begin] {
			v.say("the count of keys that end from %s on is %v, and should be %v", begin.time().Format("2006-01-02 15:04"), t, want[begin])
		}
	})
	if errors.Is(err, errTally) {
		v.say("%v", err)
		return nil
	}
	if n != len(want) {
		v.say("there are %d counts under %s, and should be %d", n, s.prefix, len(want))
	}
	return err
}
