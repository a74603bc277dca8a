package store

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// pair is a store and a fleet that are asked for the same.
type pair struct {
	plain *Store
	fleet *orderedLog
	now   time.Time

	keys    []apikey.Key    // that were ever created
	pending []apikey.Change // that are to be planned together
	backups [][2][]byte     // of the store and of the fleet
	checked int             // how many entries of the log
	lives   map[string]millis
}

// backupOfMany returns a backup with more keys than one transaction revokes.
func backupOfMany(t *testing.T) []byte {
	s := openNew(t)
	keys := make([]apikey.Key, 2*maxRevoked+1)
	for i := range keys {
		keys[i] = newKey("many", fmt.Sprint("Key ", i), start)
	}
	putKeys(t, s, keys)
	return mustBackup(t, s, start)
}

func (p *pair) key(t *rapid.T) apikey.Key {
	if len(p.keys) == 0 {
		t.Skip("no key")
	}
	return p.keys[rapid.IntRange(0, len(p.keys)-1).Draw(t, "key")]
}

// moveTo has it be a time, which is certain to have passed.
func (p *pair) moveTo(t *rapid.T, now time.Time) {
	p.now = now
	for _, s := range append(p.fleet.replicas, p.plain) {
		if err := s.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: now} }); err != nil {
			t.Fatalf("NoteClock: got error %v, want none", err)
		}
	}
}

func (p *pair) settle(t *rapid.T) {
	for _, s := range append(p.fleet.replicas, p.plain) {
		if err := s.SettleEnds(t.Context(), p.now); err != nil {
			t.Fatalf("SettleEnds: got error %v, want none", err)
		}
	}
}

func (p *pair) apply(t *rapid.T, do apikey.Action) { p.change(t, changeAt(p.now, do)) }

// alone makes a change that is not planned together with others.
func (p *pair) alone(t *rapid.T, do apikey.Action) {
	p.flush(t)
	p.pending = append(p.pending, changeAt(p.now, do))
	p.flush(t)
}

// change makes a change, or leaves it for later, to be planned together with the next.
func (p *pair) change(t *rapid.T, change apikey.Change) {
	p.pending = append(p.pending, change)
	if len(p.pending) == 5 || !rapid.Bool().Draw(t, "together with the next") {
		p.flush(t)
	}
}

func (p *pair) replica(t *rapid.T) *Store {
	return p.fleet.replicas[rapid.IntRange(0, len(p.fleet.replicas)-1).Draw(t, "replica")]
}

// flush makes the pending changes, and compares their results.
func (p *pair) flush(t *rapid.T) {
	t.Helper()
	changes := p.pending
	p.pending = nil
	switch len(changes) {
	case 0:
		return
	case 1:
		p.compare(t, changes[0], func() (apikey.Outcome, error) { return p.replica(t).Apply(t.Context(), changes[0]) })
		return
	}
	for s := p.replica(t); len(changes) > 0; {
		results, err := p.fleet.commit(t.Context(), s, changes...)
		if err != nil || len(results) == 0 {
			t.Fatalf("planning %d changes: got %d results and error %v, want some", len(changes), len(results), err)
		}
		for i, result := range results {
			p.compare(t, changes[i], func() (apikey.Outcome, error) {
				if result.Err != nil {
					return apikey.Outcome{}, result.Err
				}
				return result.Outcome, nil
			})
		}
		changes = changes[len(results):]
	}
}

// compare makes a change of the plain store and of the fleet.
func (p *pair) compare(t *rapid.T, change apikey.Change, inFleet func() (apikey.Outcome, error)) {
	t.Helper()
	want, wantErr := p.plain.Apply(t.Context(), change)
	got, err := inFleet()
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%+v: got error %v, want %v", change.Do, err, wantErr)
	}
	for _, outcome := range []*apikey.Outcome{&got, &want} {
		outcome.Propagation, outcome.Event.ID = apikey.Propagation{}, ""
	}
	same(t, fmt.Sprintf("outcome of %+v", change.Do), got, want)
}

// both asks the plain store and a replica for the same.
func (p *pair) both(t *rapid.T, what string, ask func(*Store) (any, error)) {
	t.Helper()
	p.flush(t)
	want, wantErr := ask(p.plain)
	s := p.replica(t)
	if err := p.fleet.catchUp(t.Context(), s); err != nil {
		t.Fatalf("Replay: got error %v, want none", err)
	}
	got, err := ask(s)
	if fmt.Sprint(err) != fmt.Sprint(wantErr) {
		t.Fatalf("%s: got error %v, want %v", what, err, wantErr)
	}
	same(t, what, got, want)
}

func (p *pair) restore(t *rapid.T, backup [2][]byte, quarantine bool) {
	t.Helper()
	n := 0
	p.both(t, "restored", func(s *Store) (any, error) {
		from := bytes.NewReader(backup[n])
		n++
		return s.Restore(t.Context(), from, changeAt(p.now, nil), apikey.Restore{Quarantine: quarantine}, io.Discard)
	})
}

// holdEnds holds whether an entry of the log is said to take access away against what its
// records say.
func (p *pair) holdEnds(t *rapid.T) {
	t.Helper()
	for ; p.checked < len(p.fleet.entries); p.checked++ {
		e := p.fleet.entries[p.checked]
		want := false
		for _, r := range e.records {
			switch {
			case r.Kind == apikey.RecordSuspension && r.Value != nil:
				want = true
			case r.Kind == apikey.RecordKey && r.Value != nil:
				before, known := p.lives[r.ID]
				p.lives[r.ID] = endOf(t, r)
				want = want || known && p.lives[r.ID] < before
			}
		}
		if p.entryOfOne(e) && e.ends != want {
			t.Fatalf("entry %d takes access away: got %t, want %t", p.checked, e.ends, want)
		}
	}
}

// entryOfOne reports whether an entry has at most one event, and so is of one change: of
// several, one can end a key that another has created.
func (p *pair) entryOfOne(e entry) bool {
	n := 0
	for _, r := range e.records {
		if r.Kind == apikey.RecordEvent {
			n++
		}
	}
	return n <= 1
}

// endOf returns when the key in a record ends, 0 if it is revoked.
func endOf(t *rapid.T, r apikey.Record) millis {
	t.Helper()
	key, err := decodeKey(r.ID, r.Value)
	if err != nil {
		t.Fatalf("the record of %s: got error %v, want a key", r.ID, err)
	}
	switch {
	case !key.RevokedAt.IsZero():
		return 0
	case !key.RevokesAt.IsZero():
		return min(toMillis(key.RevokesAt), toMillis(key.ExpiresAt))
	}
	return toMillis(key.ExpiresAt)
}

// agree holds all that can be read from the replicas against the plain store.
func (p *pair) agree(t *rapid.T, workspaces []string) {
	t.Helper()
	p.flush(t)
	clear(p.fleet.lagging)
	if err := p.fleet.spread(t.Context(), nil); err != nil {
		t.Fatalf("Replay: got error %v, want none", err)
	}
	p.holdEnds(t)
	first := recordsOf(t, p.fleet.replicas[0])
	sameRecords(t, "the fleet", withoutEventIDs(t, first), withoutEventIDs(t, recordsOf(t, p.plain)))
	for _, s := range p.fleet.replicas {
		sameRecords(t, "a replica and another", recordsOf(t, s), first)
		at, complete, err := s.Position()
		if err != nil || !complete {
			t.Fatalf("Position: got complete %t and error %v, want a position", complete, err)
		}
		same(t, "position", at, p.fleet.head())
		same(t, "the hash of all records", hashOf(recordsOf(t, s)).Sum(), p.fleet.head().Set)
		soundRecords(t, s)
		for _, ws := range workspaces {
			same(t, "what can be read of "+ws, readable(t, s, ws, p.now), readable(t, p.plain, ws, p.now))
		}
	}
}

// withoutEventIDs returns records without the ids of the events. They differ where one
// change has several events.
func withoutEventIDs(t *rapid.T, list []apikey.Record) (bare []apikey.Record) {
	t.Helper()
	for _, r := range list {
		if r.Kind == apikey.RecordEvent {
			r.Value = bytes.ReplaceAll(r.Value, []byte(r.ID), nil)
			r.ID = ""
		}
		bare = append(bare, r)
	}
	return bare
}

// readable returns what a store says of a workspace.
func readable(t *rapid.T, s *Store, ws string, now time.Time) string {
	t.Helper()
	var said strings.Builder
	say := func(what string, value any, err error) {
		if err != nil {
			t.Fatalf("%s of %s: got error %v, want none", what, ws, err)
		}
		fmt.Fprintf(&said, "%s: %v\n", what, value)
	}
	for _, filter := range []apikey.KeyFilter{{}, {Status: apikey.Active}, {Status: apikey.Revoked}, {Status: apikey.Expired}, {Query: "zap"}} {
		keys, next, err := s.Keys(t.Context(), ws, filter, apikey.Page{Limit: 1000}, now)
		var texts []string
		for _, key := range keys {
			texts = append(texts, fmt.Sprintf("%+v", *key))
		}
		say(fmt.Sprintf("keys %+v", filter), strings.Join(texts, "\n")+next, err)
	}
	events, _, err := s.Events(t.Context(), ws, apikey.Page{Limit: 1000})
	for i := range events {
		events[i].ID = ""
	}
	say("events", fmt.Sprintf("%+v", events), err)
	counts, err := s.CountKeys(t.Context(), ws, now)
	say("counts", counts, err)
	suspension, err := s.Workspace(t.Context(), ws)
	say("suspension", fmt.Sprintf("%+v", suspension), err)
	census, err := s.count(t.Context(), now)
	say("census", fmt.Sprintf("%+v", census), err)
	return said.String()
}
