package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// verifier holds records, indexes and counts against each other. What follows from
// a record must be there, and there may be no more of it than records: so every
// entry of an index is some record's.
type verifier struct {
	ctx     context.Context
	txn     *durable.Txn
	pacer   *durable.Pacer
	sums    *indexSums     // nil where each entry is looked up
	slots   durable.Cursor // of the slots of current keys, in the order of the keys
	wrong   findings
	foreign findings // records that no call can have left behind

	keys, events int
	rosters      map[string]roster // by workspace
	current      int               // keys
	confirmed    millis
	ofWorkspaces int // events that are about a workspace
	feeds        int
	endedFeeds   int
	daily        map[millis]tally // by when the day began
	minutely     map[millis]tally
}

// findings are how much was found, and the first of it.
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

// flaw notes what is wrong with a record, if anything is.
func (v *verifier) flaw(what, id, flaw string) {
	if flaw != "" {
		v.foreign.add("of the %s %.100q, %s", what, id, flaw)
	}
}

func (v *verifier) all() error {
	v.daily, v.minutely, v.rosters = make(map[millis]tally), make(map[millis]tally), make(map[string]roster)
	var err error
	if v.confirmed, err = confirmedTime(v.txn); err != nil {
		return err
	}
	v.slots = v.txn.Cursor(slotKey(""))
	defer v.slots.Close()
	return errors.Join(
		v.each("k/", v.key),
		v.each("a/", v.event),
		v.each("s/", v.suspension),
		v.each("g/", v.feed),
		v.each("f/", v.endedFeed),
		v.each("q/", v.roster),
		v.each("n/", func(list, value []byte) error { return v.members(list, value, nameOf) }),
		v.each("r/", func(list, value []byte) error { return v.members(list, value, familyOf) }),
		v.tallies(days, v.daily),
		v.tallies(minutes, v.minutely),
		v.number(digestPrefix, v.keys), v.number("w/", v.keys), v.number(endPrefix, v.keys),
		v.number("q/", len(v.rosters)), v.number("x/", v.current), v.number("y/", v.current), v.number("d/", v.keys-v.current),
		v.number("b/", v.ofWorkspaces), v.number("f/", v.feeds+v.endedFeeds),
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

// number checks how many entries an index has.
func (v *verifier) number(prefix string, want int) error {
	n, err := v.entries(prefix)
	if n != want {
		v.say("the index %s has %d entries, and should have %d", prefix, n, want)
	}
	return err
}

// entry checks that a key of the store has a value.
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

func (v *verifier) key(record, value []byte) error {
	v.keys++
	key, err := decodeKey(keyIDIn(record), value)
	if err != nil {
		v.say("%v", err)
		return nil
	}
	v.flaw("key", key.ID, key.Flaw())
	ending := endingOf(key)
	v.entry(digestKey(key.Digest), key.ID)
	v.entry(workspaceKey(key.WorkspaceID, key.ID), searchText(key))
	v.entry(endKey(ending, key.ID), string(ending.encode()))
	v.place(key)
	v.links(key)
	for span, counts := range map[span]map[millis]tally{days: v.daily, minutes: v.minutely} {
		t := counts[span.begin(ending.at)]
		t[ending.class]++
		counts[span.begin(ending.at)] = t
	}
	return nil
}

// links checks the keys that a key is linked to, which may be forgotten already.
func (v *verifier) links(key *apikey.Key) {
	for _, other := range []string{key.Replaces, key.ReplacedBy} {
		if other == "" {
			continue
		}
		switch linked, err := keyByID(v.txn, other); {
		case errors.Is(err, durable.ErrNotFound):
		case err != nil:
			v.say("the key %s is linked to %s, which cannot be read: %v", key.ID, other, err)
		case linked.WorkspaceID != key.WorkspaceID:
			v.flaw("key", key.ID, "the key that it is linked to is of another workspace")
		}
	}
}

// place checks that a key is among the current ones of its workspace, or among those
// that have ended.
func (v *verifier) place(key *apikey.Key) {
	r := v.rosters[key.WorkspaceID]
	value, current := v.slots.At(slotKey(key.ID))
	var slot uint32
	var err error
	if current {
		slot, err = decodeSlot(value, key.ID)
	}
	switch {
	case err != nil:
		v.say("%v", err)
	case !current:
		status := endingOf(key).status()
		*r.ended(status)++
		v.entry(endedKey(key.WorkspaceID, status, key.ID), "")
	default:
		r.Current++
		v.current++
		v.member(key, slot)
		if isCurrent(key, v.confirmed) { // else it may have left them before it leaves the roster
			v.listed(key, nameOf(key))
			v.listed(key, familyOf(key))
		}
	}
	v.rosters[key.WorkspaceID] = r
}

// member checks that a current key is in its slot.
func (v *verifier) member(key *apikey.Key, slot uint32) {
	if v.sums != nil {
		v.sums.expect(placeKey(key.WorkspaceID, slot), inList(memberOf(key)))
		return
	}
	if m, err := memberAt(v.txn, key.WorkspaceID, slot); err != nil || m != memberOf(key) {
		v.say("the current key %d of %q is not %s (%v)", slot, key.WorkspaceID, key.ID, err)
	}
}

// listed checks that a current key is in a list.
func (v *verifier) listed(key *apikey.Key, list []byte) {
	if list == nil {
		return
	}
	if v.sums != nil {
		v.sums.expect(list, inList(memberOf(key)))
		return
	}
	members, err := membersOf(v.txn, list)
	if err != nil || !slices.Contains(members, memberOf(key)) {
		v.say("the key %s is not in the list %q (%v)", key.ID, list, err)
	}
}

func (v *verifier) roster(key, _ []byte) error {
	ws := string(key[len("q/")+1:])
	if got, err := loadRoster(v.txn, ws); err != nil || got != v.rosters[ws] {
		v.say("the workspace %q is said to have the keys %+v, and has %+v (%v)", ws, got, v.rosters[ws], err)
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
		v.say("the record of the event %s is of another one", id)
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
	v.entry(feedKey(digest), ws)
	return nil
}

func (v *verifier) endedFeed(_, value []byte) error {
	if len(value) == 0 {
		v.endedFeeds++
	}
	return nil
}

// members checks that the keys of a list belong in it.
func (v *verifier) members(list, value []byte, listOf func(*apikey.Key) []byte) error {
	var members []member
	if err := decode(list, value, &members); err != nil {
		v.say("%v", err)
	}
	for _, m := range members {
		if v.sums != nil && m.End > v.confirmed { // else it may be there, and need not
			v.sums.found(list, inList(m))
			continue
		}
		if key, err := keyByID(v.txn, m.ID); err != nil || memberOf(key) != m || !bytes.Equal(listOf(key), list) {
			v.say("the list %q has %s, which does not belong in it (%v)", list, m.ID, err)
		}
	}
	return nil
}

// tallies checks the counts of keys by when they end.
func (v *verifier) tallies(s span, want map[millis]tally) error {
	n := 0
	err := eachTally(v.ctx, v.txn, s, 0, math.MaxInt64, func(begin millis, t tally) {
		if n++; t != want[begin] {
			v.say("%v keys are counted to end from %s on, and there are %v", t, begin.time().Format("2006-01-02 15:04"), want[begin])
		}
	})
	if errors.Is(err, errTally) {
		v.say("%v", err)
		return nil
	}
	if n != len(want) {
		v.say("there are %d counts %s, and should be %d", n, s.prefix, len(want))
	}
	return err
}
