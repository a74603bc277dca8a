package store

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/dgraph-io/badger/v4"
)

// checker holds records, indexes and counts against each other. What follows from
// a record must be there, and there may be no more of it than records: so every
// entry of an index is some record's.
type checker struct {
	ctx   context.Context
	txn   *badger.Txn
	wrong []string

	keys, events int
	ofWorkspaces int // events that are about a workspace
	feeds        int
	endedFeeds   int
	daily        map[millis]tally // by when the day began
	minutely     map[millis]tally
}

func (c *checker) say(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *checker) all() error {
	c.daily, c.minutely = make(map[millis]tally), make(map[millis]tally)
	return errors.Join(
		c.each("k/", c.key),
		c.each("a/", c.event),
		c.each("s/", c.suspension),
		c.each("g/", c.feed),
		c.each("f/", c.endedFeed),
		c.each("n/", c.name),
		c.tallies(days, c.daily),
		c.tallies(minutes, c.minutely),
		c.number(digestPrefix, c.keys), c.number("w/", c.keys), c.number(endPrefix, c.keys),
		c.number("b/", c.ofWorkspaces), c.number("f/", c.feeds+c.endedFeeds),
	)
}

func (c *checker) each(prefix string, visit func(*badger.Item) error) error {
	return each(c.txn, []byte(prefix), func(item *badger.Item) error {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		return visit(item)
	})
}

// number checks how many entries an index has.
func (c *checker) number(prefix string, want int) error {
	n := 0
	err := c.each(prefix, func(*badger.Item) error { n++; return nil })
	if n != want {
		c.say("the index %s has %d entries, and should have %d", prefix, n, want)
	}
	return err
}

// entry checks that a key of the store has a value.
func (c *checker) entry(key []byte, want string) {
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
	ending := endingOf(key)
	c.entry(digestKey(key.Digest), key.ID)
	c.entry(workspaceKey(key.WorkspaceID, key.ID), "")
	c.entry(endKey(ending.at, key.ID), string(ending.encode()))
	for span, counts := range map[span]map[millis]tally{days: c.daily, minutes: c.minutely} {
		t := counts[span.begin(ending.at)]
		t[ending.class]++
		counts[span.begin(ending.at)] = t
	}
	for _, other := range []string{key.Replaces, key.ReplacedBy} {
		if other == "" {
			continue
		}
		if _, err := keyByID(c.txn, other); err != nil {
			c.say("the key %s is linked to %s, which cannot be read: %v", key.ID, other, err)
		}
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
	}
	if r.WorkspaceID != "" {
		c.ofWorkspaces++
		c.entry(eventIndexKey(r.WorkspaceID, r.ID), "")
	}
	return nil
}

func (c *checker) suspension(item *badger.Item) error {
	if _, err := workspaceByID(c.txn, string(item.Key()[len("s/")+1:])); err != nil {
		c.say("%v", err)
	}
	return nil
}

func (c *checker) feed(item *badger.Item) error {
	c.feeds++
	ws := string(item.Key()[len("g/")+1:])
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

// name checks that the key which has a name, or had it last, is there.
func (c *checker) name(item *badger.Item) error {
	value, err := item.ValueCopy(nil)
	if err != nil {
		return err
	}
	key, err := keyByID(c.txn, string(value))
	if err != nil {
		c.say("a name is that of the key %s, which cannot be read: %v", value, err)
		return nil
	}
	if !strings.HasPrefix(string(item.Key()), string(nameKey(key.WorkspaceID, ""))) {
		c.say("a name of another workspace is that of the key %s", key.ID)
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
