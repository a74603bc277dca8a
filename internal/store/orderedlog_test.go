package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// fleetPrefix is where the fleet of these tests would keep its data in etcd.
const fleetPrefix = "/api-keys/"

// orderedLog is the log of a fleet, in memory. It plans changes on the replica that was
// asked, and replays what they write on all replicas, in one order.
type orderedLog struct {
	mutex    sync.Mutex
	entries  []entry
	replicas []*Store
	lagging  map[*Store]bool // those that only catch up when they are asked for a change
	full     bool
}

// entry is what one plan has written.
type entry struct {
	from, to apikey.Position
	records  []apikey.Record
	ends     bool
	values   map[recordID][]byte // of the records
	set      sethash.Hash        // of all records, with those of the entry
}

// newFleet opens the empty replicas of a new fleet, in directories below dir. onChange is
// called with the index of the replica; it may be nil.
func newFleet(t tester, dir string, replicas int, onChange func(int, apikey.Outcome)) *orderedLog {
	t.Helper()
	log := &orderedLog{lagging: make(map[*Store]bool)}
	for i := range replicas {
		var tell func(apikey.Outcome)
		if onChange != nil {
			tell = func(outcome apikey.Outcome) { onChange(i, outcome) }
		}
		log.join(t, filepath.Join(dir, fmt.Sprint("replica", i)), tell)
	}
	return log
}

// openFleet is newFleet in a directory of its own, with replicas that are closed when the
// test ends.
func openFleet(t *testing.T, replicas int) *orderedLog {
	t.Helper()
	log := newFleet(t, t.TempDir(), replicas, nil)
	t.Cleanup(func() {
		for _, s := range log.replicas {
			closeStore(t, s)
		}
	})
	return log
}

// join opens a new replica, and fills it with what the fleet has.
func (l *orderedLog) join(t tester, path string, onChange func(apikey.Outcome)) *Store {
	t.Helper()
	s, err := OpenReplica(path, fleetPrefix, zap.NewNop(), onChange)
	if err != nil {
		t.Fatalf("OpenReplica: got error %v, want a replica", err)
	}
	l.replicas = append(l.replicas, s)
	l.follow(s)
	var all []apikey.Record
	if len(l.replicas) > 1 {
		all = recordsOf(t, l.replicas[0])
	}
	mustReload(t, s, all, l.head())
	return s
}

func (l *orderedLog) follow(s *Store) { s.Follow(asked{l, s}) }

// reopen closes a replica and opens it again.
func (l *orderedLog) reopen(t tester, i int) *Store {
	t.Helper()
	old := l.replicas[i]
	if err := old.Close(); err != nil {
		t.Fatalf("Close: got error %v, want none", err)
	}
	s, err := OpenReplica(old.Path(), fleetPrefix, zap.NewNop(), old.onChange)
	if err != nil {
		t.Fatalf("OpenReplica: got error %v, want a replica", err)
	}
	l.replicas[i], l.lagging[s] = s, l.lagging[old]
	l.follow(s)
	return s
}

func (l *orderedLog) head() apikey.Position {
	if len(l.entries) == 0 {
		return apikey.Position{Head: apikey.Head{Fleet: "fleet", Set: hashOf(nil).Sum()}}
	}
	return l.entries[len(l.entries)-1].to
}

// after returns the position that follows the head.
func (l *orderedLog) after(records []apikey.Record, lastEvent string, ends bool) apikey.Position {
	at := l.head()
	sum := sha256.New()
	sum.Write(at.Sum)
	for _, r := range records {
		fmt.Fprintf(sum, "%c %s %t %q\n", r.Kind, r.ID, r.Value == nil, r.Value)
	}
	at.Seq, at.Revision, at.Sum = at.Seq+1, at.Revision+2, sum.Sum(nil)
	at.LastEvent = max(at.LastEvent, lastEvent)
	if ends {
		at.LastEnd = at.Seq
	}
	return at
}

// commit plans changes together on a replica, and replays what they write.
func (l *orderedLog) commit(ctx context.Context, s *Store, changes ...apikey.Change) ([]apikey.Planned, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if err := l.catchUp(ctx, s); err != nil {
		return nil, err
	}
	plan, err := s.Plan(changes, maxCommitted+len(changes))
	if err != nil || len(plan.Records) == 0 {
		return plan.Results, err
	}
	if e := l.append(plan.Records, plan.LastEvent, plan.Ends); !bytes.Equal(plan.Set, e.to.Set) {
		return nil, fmt.Errorf("entry %d is planned with another hash of all records than it has", e.to.Seq)
	}
	return plan.Results, l.spread(ctx, s)
}

func (l *orderedLog) append(records []apikey.Record, lastEvent string, ends bool) entry {
	e := entry{from: l.head(), to: l.after(records, lastEvent, ends), records: records, ends: ends, values: make(map[recordID][]byte)}
	if n := len(l.entries); n > 0 {
		e.set = l.entries[n-1].set
	}
	for _, r := range records {
		if before := l.value(r); before.Value != nil {
			e.set.Remove(before)
		}
		if r.Value != nil {
			e.set.Add(r)
		}
		e.values[recordID{r.Kind, r.ID}] = r.Value
	}
	e.to.Set = e.set.Sum()
	l.entries = append(l.entries, e)
	return e
}

// value returns a record as it is at the head.
func (l *orderedLog) value(r apikey.Record) apikey.Record {
	r.Value = nil
	for _, e := range slices.Backward(l.entries) {
		if value, written := e.values[recordID{r.Kind, r.ID}]; written {
			r.Value = value
			break
		}
	}
	return r
}

// spread brings a replica up to date, and all that do not lag.
func (l *orderedLog) spread(ctx context.Context, asked *Store) (err error) {
	for _, s := range l.replicas {
		if s == asked || !l.lagging[s] {
			err = errors.Join(err, l.catchUp(ctx, s))
		}
	}
	return err
}

// catchUp replays what a replica does not have yet, all at once.
func (l *orderedLog) catchUp(ctx context.Context, s *Store) error {
	at, _, err := s.Position()
	missing := l.entries[min(int(at.Seq), len(l.entries)):]
	if err != nil || len(missing) == 0 {
		return err
	}
	if err := s.Replay(ctx, at, l.head(), together(missing)); err != nil {
		return err
	}
	return sameSet(s, l.head())
}

// sameSet checks the hash that a replica has of all records.
func sameSet(s *Store, at apikey.Position) error {
	return s.view(func(txn *durable.Txn) error {
		set, err := setIn(txn)
		if err == nil && !bytes.Equal(set.Sum(), at.Set) {
			err = fmt.Errorf("a replica has another hash of all records than entry %d", at.Seq)
		}
		return err
	})
}

// together returns the last record of each kind and id, in their order.
func together(entries []entry) []apikey.Record {
	var set recordSet
	for _, e := range entries {
		for _, r := range e.records {
			set.add(r.Kind, r.ID, r.Value)
		}
	}
	return set.list
}

// asked is the log of one replica.
type asked struct {
	log   *orderedLog
	store *Store
}

func (a asked) Commit(ctx context.Context, change apikey.Change, _ bool, applied func(apikey.Planned) error) (apikey.Outcome, error) {
	results, err := a.log.commit(ctx, a.store, change)
	if err != nil {
		return apikey.Outcome{}, err
	}
	return results[0].Outcome, applied(results[0])
}

func (a asked) CommitAll(ctx context.Context, changes []apikey.Change, applied func(int, apikey.Planned) error) (all []apikey.Planned) {
	for len(all) < len(changes) {
		results, err := a.log.commit(ctx, a.store, changes[len(all):]...)
		if err != nil {
			results = []apikey.Planned{{Err: err}}
		}
		for _, r := range results {
			if err == nil {
				r.Err = applied(len(all), r)
			}
			all = append(all, r)
		}
	}
	return all
}

func (a asked) Full() bool { return a.log.full }

// mustReload fills a replica.
func mustReload(t tester, s *Store, all []apikey.Record, at apikey.Position) {
	t.Helper()
	r, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatalf("BeginReload: got error %v, want none", err)
	}
	defer r.Close()
	if err := errors.Join(r.Add(t.Context(), all), r.Finish(t.Context(), at, hashOf(all))); err != nil {
		t.Fatalf("reloading: got error %v, want none", err)
	}
}

// hashOf returns the hash of all records of a store.
func hashOf(all []apikey.Record) *sethash.Hash {
	set := new(sethash.Hash)
	for _, r := range all {
		set.Add(r)
	}
	return set
}

// recordsOf returns all records of a store.
func recordsOf(t tester, s *Store) (all []apikey.Record) {
	t.Helper()
	if err := s.EachRecord(t.Context(), func(r apikey.Record) error { all = append(all, r); return nil }); err != nil {
		t.Fatalf("EachRecord: got error %v, want all", err)
	}
	return all
}

// sameRecords holds the records of two stores against each other.
func sameRecords(t tester, what string, got, want []apikey.Record) {
	t.Helper()
	text := func(records []apikey.Record) (lines []string) {
		for _, r := range records {
			lines = append(lines, fmt.Sprintf("%c %s %s", r.Kind, r.ID, r.Value))
		}
		slices.Sort(lines)
		return lines
	}
	a, b := text(got), text(want)
	for _, line := range a {
		if _, found := slices.BinarySearch(b, line); !found {
			t.Errorf("%s: got the record %s, want it not there", what, line)
		}
	}
	for _, line := range b {
		if _, found := slices.BinarySearch(a, line); !found {
			t.Errorf("%s: want the record %s, which is not there", what, line)
		}
	}
}

// soundRecords checks that a store's indexes and counts follow from its records.
func soundRecords(t tester, s *Store) {
	t.Helper()
	finding, err := s.checkRecords(t.Context())
	if err != nil || finding.Severity != doctor.Fine {
		t.Fatalf("the check of the records: got %q and error %v, want nothing", finding.Message, err)
	}
}
