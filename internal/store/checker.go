package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// checker holds records, indexes and counts against each other. What follows from
// a record must be there, and there may be no more of it than records: so every
// entry of an index is some record's.
type checker struct {
	ctx     context.Context
	txn     *badger.Txn
	pacer   *pacer
	sums    *indexSums // nil where each entry is looked up
	slots   cursor     // of the slots of current keys, in the order of the keys
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

func (c *checker) say(format string, args ...any) { c.wrong.add(format, args...) }

// flaw notes what is wrong with a record, if anything is.
func (c *checker) flaw(what, id, flaw string) {
	if flaw != "" {
		c.foreign.add("of the %s %.100q, %s", what, id, flaw)
	}
}

func (c *checker) all() error {
	c.daily, c.minutely, c.rosters = make(map[millis]tally), make(map[millis]tally), make(map[string]roster)
	var err error
	if c.confirmed, err = confirmedTime(c.txn); err != nil {
		return err
	}
	c.slots = newCursor(c.txn, slotKey(""))
	defer c.slots.close()
	return errors.Join(
		c.each("k/", c.key),
		c.each("a/", c.event),
		c.each("s/", c.suspension),
		c.each("g/", c.feed),
		c.each("f/", c.endedFeed),
		c.each("q/", c.roster),
		c.each("n/", func(item *badger.Item) error { return c.members(item, nameOf) }),
		c.each("r/", func(item *badger.Item) error { return c.members(item, familyOf) }),
		c.tallies(days, c.daily),
		c.tallies(minutes, c.minutely),
		c.number(digestPrefix, c.keys), c.number("w/", c.keys), c.number(endPrefix, c.keys),
		c.number("q/", len(c.rosters)), c.number("x/", c.current), c.number("y/", c.current), c.number("d/", c.keys-c.current),
		c.number("b/", c.ofWorkspaces), c.number("f/", c.feeds+c.endedFeeds),
	)
}

func (c *checker) each(prefix string, visit func(*badger.Item) error) error {
	return each(c.txn, []byte(prefix), func(item *badger.Item) error {
		if err := c.pacer.step(); err != nil {
			return err
		}
		return visit(item)
	})
}

// number checks how many entries an index has.
func (c *checker) number(prefix string, want int) error {
	n, err := c.entries(prefix)
	if n != want {
		c.say("the index %s has %d entries, and should have %d", prefix, n, want)
	}
	return err
}

// entry checks that a key of the store has a value.
func (c *checker) entry(key []byte, want string) {
	if c.sums != nil {
		c.sums.expect(key, []byte(want))
		return
	}
	item, err := c.txn.Get(key)
	if err != nil {
		c.say("the index has no %q: %v", key, err)
		return
	}
	_ = item.Value(func(value []byte) error {
		if string(value) != want {
			c.say("the index has %q for %q, and should have %q", value, key, want)
		}
		return nil
	})
}

func (c *checker) key(item *badger.Item) error {
	c.keys++
	key, err := decodeKey(item)
	if err != nil {
		c.say("%v", err)
		return nil
	}
	c.flaw("key", key.ID, key.Flaw())
	ending := endingOf(key)
	c.entry(digestKey(key.Digest), key.ID)
	c.entry(workspaceKey(key.WorkspaceID, key.ID), searchText(key))
	c.entry(endKey(ending, key.ID), string(ending.encode()))
	c.place(key)
	c.links(key)
	for span, counts := range map[span]map[millis]tally{days: c.daily, minutes: c.minutely} {
		t := counts[span.begin(ending.at)]
		t[ending.class]++
		counts[span.begin(ending.at)] = t
	}
	return nil
}

// links checks the keys that a key is linked to, which may be forgotten already.
func (c *checker) links(key *apikey.Key) {
	for _, other := range []string{key.Replaces, key.ReplacedBy} {
		if other == "" {
			continue
		}
		switch linked, err := keyByID(c.txn, other); {
		case errors.Is(err, badger.ErrKeyNotFound):
		case err != nil:
			c.say("the key %s is linked to %s, which cannot be read: %v", key.ID, other, err)
		case linked.WorkspaceID != key.WorkspaceID:
			c.flaw("key", key.ID, "the key that it is linked to is of another workspace")
		}
	}
}

// place checks that a key is among the current ones of its workspace, or among those
// that have ended.
func (c *checker) place(key *apikey.Key) {
	r := c.rosters[key.WorkspaceID]
	slot, current, err := slotIn(c.slots.at(slotKey(key.ID)), key.ID)
	switch {
	case err != nil:
		c.say("%v", err)
	case !current:
		status := endingOf(key).status()
		*r.ended(status)++
		c.entry(endedKey(key.WorkspaceID, status, key.ID), "")
	default:
		r.Current++
		c.current++
		c.member(key, slot)
		if isCurrent(key, c.confirmed) { // else it may have left them before it leaves the roster
			c.listed(key, nameOf(key))
			c.listed(key, familyOf(key))
		}
	}
	c.rosters[key.WorkspaceID] = r
}

// member checks that a current key is in its slot.
func (c *checker) member(key *apikey.Key, slot uint32) {
	if c.sums != nil {
		c.sums.expect(placeKey(key.WorkspaceID, slot), inList(memberOf(key)))
		return
	}
	if m, err := memberAt(c.txn, key.WorkspaceID, slot); err != nil || m != memberOf(key) {
		c.say("the current key %d of %q is not %s (%v)", slot, key.WorkspaceID, key.ID, err)
	}
}

// listed checks that a current key is in a list.
func (c *checker) listed(key *apikey.Key, list []byte) {
	if list == nil {
		return
	}
	if c.sums != nil {
		c.sums.expect(list, inList(memberOf(key)))
		return
	}
	members, err := membersOf(c.txn, list)
	if err != nil || !slices.Contains(members, memberOf(key)) {
		c.say("the key %s is not in the list %q (%v)", key.ID, list, err)
	}
}

func (c *checker) roster(item *badger.Item) error {
	ws := string(item.Key()[len("q/")+1:])
	if got, err := loadRoster(c.txn, ws); err != nil || got != c.rosters[ws] {
		c.say("the workspace %q is said to have the keys %+v, and has %+v (%v)", ws, got, c.rosters[ws], err)
	}
	return nil
}

func (c *checker) event(item *badger.Item) error {
	c.events++
	var r eventRecord
	if err := decode(item, &r); err != nil {
		c.say("%v", err)
		return nil
	}
	if id := string(item.Key()[len("a/"):]); r.ID != id {
		c.say("the record of the event %s is of another one", id)
	} else {
		event := r.event()
		c.flaw("event", event.ID, event.Flaw())
	}
	if r.WorkspaceID != "" {
		c.ofWorkspaces++
		c.entry(eventIndexKey(r.WorkspaceID, r.ID), "")
	}
	return nil
}

func (c *checker) suspension(item *badger.Item) error {
	ws, err := workspaceByID(c.txn, string(item.Key()[len("s/")+1:]))
	if err != nil {
		c.say("%v", err)
		return nil
	}
	c.flaw("suspension of", ws.ID, ws.Flaw())
	return nil
}

func (c *checker) feed(item *badger.Item) error {
	c.feeds++
	ws := string(item.Key()[len("g/")+1:])
	var r feedRecord
	if err := decode(item, &r); err == nil {
		c.flaw("calendar feed of", ws, r.flaw())
	}
	digest, err := feedOf(c.txn, ws)
	if err != nil {
		c.say("%v", err)
		return nil
	}
	c.entry(feedKey(digest), ws)
	return nil
}

func (c *checker) endedFeed(item *badger.Item) error {
	if item.ValueSize() == 0 {
		c.endedFeeds++
	}
	return nil
}

// members checks that the keys of a list belong in it.
func (c *checker) members(item *badger.Item, listOf func(*apikey.Key) []byte) error {
	var members []member
	if err := decode(item, &members); err != nil {
		c.say("%v", err)
	}
	for _, m := range members {
		if c.sums != nil && m.End > c.confirmed { // else it may be there, and need not
			c.sums.found(item.Key(), inList(m))
			continue
		}
		if key, err := keyByID(c.txn, m.ID); err != nil || memberOf(key) != m || !bytes.Equal(listOf(key), item.Key()) {
			c.say("the list %q has %s, which does not belong in it (%v)", item.Key(), m.ID, err)
		}
	}
	return nil
}

// tallies checks the counts of keys by when they end.
func (c *checker) tallies(s span, want map[millis]tally) error {
	n := 0
	err := eachTally(c.ctx, c.txn, s, 0, math.MaxInt64, func(begin millis, t tally) {
		if n++; t != want[begin] {
			c.say("%v keys are counted to end from %s on, and there are %v", t, begin.time().Format("2006-01-02 15:04"), want[begin])
		}
	})
	if errors.Is(err, errTally) {
		c.say("%v", err)
		return nil
	}
	if n != len(want) {
		c.say("there are %d counts %s, and should be %d", n, s.prefix, len(want))
	}
	return err
}
