package store

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
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

// Whatever is asked of a fleet, on whichever replica, some of which lag or restart, and
// with changes planned one by one or together: it does what a store of its own does.
func TestReplicas_doWhatAStoreDoes(t *testing.T) {
	workspaces := []string{"acme", "globex", "many"}
	many := backupOfMany(t)
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		plain, err := Open(filepath.Join(dir, "keys"), zap.NewNop(), nil)
		if err != nil {
			t.Fatalf("Open: got error %v, want a store", err)
		}
		defer plain.Close()
		p := &pair{plain: plain, fleet: newFleet(t, dir, rapid.SampledFrom([]int{2, 2, 2, 3}).Draw(t, "replicas"), nil), lives: map[string]millis{}}
		defer func() {
			for _, s := range p.fleet.replicas {
				_ = s.Close()
			}
		}()
		p.moveTo(t, start)

		name := rapid.SampledFrom([]string{"Zapier", "ZAPIER", "Billing"})
		workspace := rapid.SampledFrom(workspaces[:2])
		expiry := func(t *rapid.T) time.Time {
			return p.now.Add(time.Duration(rapid.IntRange(1, 10).Draw(t, "days")) * day)
		}
		restoredMany := rapid.IntRange(0, 9).Draw(t, "with many keys") < 9 // which takes long
		t.Repeat(map[string]func(*rapid.T){
			"create": func(t *rapid.T) {
				key := newKey(workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
				key.ExpiresAt = expiry(t)
				p.keys = append(p.keys, key)
				p.apply(t, apikey.Create{Key: key, MaxActive: rapid.IntRange(0, 2).Draw(t, "most")})
			},
			"create, and unrecorded if refused": func(t *rapid.T) {
				key := newKey(workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
				p.keys = append(p.keys, key)
				change := changeAt(p.now, apikey.Create{Key: key, MaxActive: 1})
				change.Unrecorded = true
				p.change(t, change)
			},
			"import": func(t *rapid.T) {
				token := rapid.SampledFrom([]string{"sk_1", "sk_2"}).Draw(t, "token")
				key := imported(token, workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
				key.ExpiresAt = expiry(t)
				p.keys = append(p.keys, key)
				change := changeAt(p.now, apikey.Import{Key: key})
				change.Unrecorded = true
				p.change(t, change)
			},
			"import several": func(t *rapid.T) {
				var changes []apikey.Change
				for range rapid.IntRange(1, 3).Draw(t, "keys") {
					token := rapid.SampledFrom([]string{"sk_1", "sk_2", "sk_3"}).Draw(t, "token")
					key := imported(token, workspace.Draw(t, "workspace"), name.Draw(t, "name"), p.now)
					p.keys = append(p.keys, key)
					change := changeAt(p.now, apikey.Import{Key: key})
					change.Unrecorded = true
					changes = append(changes, change)
				}
				p.both(t, "imported", func(s *Store) (any, error) {
					results, err := s.ApplyAll(t.Context(), changes)
					for i := range results {
						results[i].Outcome.Propagation, results[i].Outcome.Event.ID = apikey.Propagation{}, ""
					}
					return results, err
				})
			},
			"rename": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Update{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Name: new(name.Draw(t, "name"))})
			},
			"rotate": func(t *rapid.T) {
				do := rotation(p.key(t), p.now)
				do.Replacement.ExpiresAt = expiry(t)
				if rapid.Bool().Draw(t, "with an end") {
					do.RevokeOldAt = p.now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "end")) * day)
				}
				key := do.Replacement
				key.WorkspaceID = do.WorkspaceID
				p.keys = append(p.keys, key)
				p.apply(t, do)
			},
			"revoke": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: "left"})
			},
			"revoke all": func(t *rapid.T) {
				p.alone(t, apikey.RevokeAll{WorkspaceID: rapid.SampledFrom(workspaces).Draw(t, "workspace"), Reason: "left"})
			},
			"expose": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Expose{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
			},
			"leak": func(t *rapid.T) {
				key := p.key(t)
				p.apply(t, apikey.Leak{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Source: "github", Revoke: rapid.Bool().Draw(t, "revoke")})
			},
			"look up":            func(t *rapid.T) { p.apply(t, apikey.Lookup{Digest: p.key(t).Digest}) },
			"look up an unknown": func(t *rapid.T) { p.apply(t, apikey.Lookup{Digest: digestOf("unknown")}) },
			"suspend": func(t *rapid.T) {
				p.apply(t, apikey.Suspend{WorkspaceID: workspace.Draw(t, "workspace"), Reason: "unpaid", Own: rapid.Bool().Draw(t, "own")})
			},
			"resume": func(t *rapid.T) {
				p.apply(t, apikey.Resume{WorkspaceID: workspace.Draw(t, "workspace"), Own: rapid.Bool().Draw(t, "own")})
			},
			"open a feed": func(t *rapid.T) {
				p.apply(t, apikey.OpenFeed{WorkspaceID: workspace.Draw(t, "workspace"), Digest: apikey.NewFeedToken().Digest()})
			},
			"close a feed": func(t *rapid.T) { p.apply(t, apikey.CloseFeed{WorkspaceID: workspace.Draw(t, "workspace")}) },
			"wait": func(t *rapid.T) {
				p.flush(t)
				p.moveTo(t, p.now.Add(time.Duration(rapid.IntRange(0, 72).Draw(t, "hours"))*time.Hour))
			},
			"settle": func(t *rapid.T) {
				p.flush(t)
				p.settle(t)
			},
			"set the clock back": func(t *rapid.T) {
				p.flush(t)
				p.settle(t) // as happens every minute
				right := p.now.Add(-time.Duration(rapid.IntRange(1, 6).Draw(t, "days")) * day)
				p.alone(t, apikey.TrustClock{Clock: apikey.ClockReading{Machine: right, Confirmed: p.now, Judged: p.now}, Reason: "NTP"})
				p.moveTo(t, right)
				p.settle(t)
			},
			"forget": func(t *rapid.T) {
				before := p.now.Add(-time.Duration(rapid.IntRange(0, 4).Draw(t, "days")) * day)
				p.both(t, "forgotten keys", func(s *Store) (any, error) { return s.ForgetKeys(t.Context(), before, p.now) })
				p.both(t, "forgotten feeds", func(s *Store) (any, error) { return s.ForgetFeeds(t.Context(), before, p.now) })
				p.both(t, "forgotten events", func(s *Store) (any, error) { return s.ForgetEvents(t.Context(), before, p.now) })
			},
			"back up": func(t *rapid.T) {
				var backup [2][]byte
				n := 0
				p.both(t, "backup", func(s *Store) (any, error) {
					file, err := s.Backup(t.Context(), p.now)
					if err != nil {
						return nil, err
					}
					defer file.Close()
					backup[n], err = io.ReadAll(file)
					n++
					return nil, err
				})
				p.backups = append(p.backups, backup)
			},
			"restore": func(t *rapid.T) {
				if len(p.backups) == 0 {
					t.Skip("no backup")
				}
				p.restore(t, p.backups[rapid.IntRange(0, len(p.backups)-1).Draw(t, "backup")], rapid.Bool().Draw(t, "in quarantine"))
			},
			"restore many": func(t *rapid.T) {
				if restoredMany {
					t.Skip("they are there, or not wanted")
				}
				restoredMany = true
				p.restore(t, [2][]byte{many, many}, false)
			},
			"lag": func(t *rapid.T) {
				s := p.replica(t)
				p.fleet.lagging[s] = !p.fleet.lagging[s]
			},
			"reload": func(t *rapid.T) {
				p.flush(t)
				from, to := p.replica(t), p.replica(t)
				if err := p.fleet.catchUp(t.Context(), from); err != nil {
					t.Fatalf("Replay: got error %v, want none", err)
				}
				mustReload(t, to, recordsOf(t, from), p.fleet.head())
			},
			"reopen": func(t *rapid.T) {
				p.flush(t)
				p.fleet.reopen(t, rapid.IntRange(0, len(p.fleet.replicas)-1).Draw(t, "replica"))
			},
			"": func(t *rapid.T) { p.holdEnds(t) },
		})
		p.agree(t, workspaces)
	})
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
