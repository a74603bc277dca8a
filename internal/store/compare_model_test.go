package store

import (
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// histories are the two histories of a fleet that has gone back: the one that it has lost,
// and the one that it has had since.
type histories struct {
	now   time.Time
	keys  []apikey.Key
	feeds []apikey.Digest
}

var workspacesOfHistories = []string{"acme", "globex"}

// change makes a random change. It may be refused.
func (h *histories) change(t *rapid.T, s *Store) {
	h.now = h.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "hours")) * time.Hour)
	ws := rapid.SampledFrom(workspacesOfHistories).Draw(t, "workspace")
	name := rapid.SampledFrom([]string{"Zapier", "ZAPIER", "Billing"}).Draw(t, "name")
	var do apikey.Action
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1:
		key := newKey(ws, name, h.now)
		key.ExpiresAt = h.now.Add(time.Duration(rapid.IntRange(5, 60).Draw(t, "days")) * day)
		h.keys = append(h.keys, key)
		do = apikey.Create{Key: key, MaxActive: rapid.IntRange(0, 3).Draw(t, "most")}
	case 2, 3:
		rotate := rotation(h.key(t), h.now)
		if rapid.Bool().Draw(t, "with an end") {
			rotate.RevokeOldAt = h.now.Add(time.Duration(rapid.IntRange(0, 8).Draw(t, "end")) * day)
		}
		key := rotate.Replacement
		key.WorkspaceID = rotate.WorkspaceID
		h.keys = append(h.keys, key)
		do = rotate
	case 4:
		key := h.key(t)
		do = apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID}
	case 5:
		do = apikey.Suspend{WorkspaceID: ws, Own: rapid.Bool().Draw(t, "own")}
	case 6:
		do = apikey.Resume{WorkspaceID: ws, Own: rapid.Bool().Draw(t, "own")}
	case 7:
		digest := apikey.NewFeedToken().Digest()
		h.feeds = append(h.feeds, digest)
		do = apikey.OpenFeed{WorkspaceID: ws, Digest: digest}
	case 8:
		do = apikey.CloseFeed{WorkspaceID: ws}
	default:
		key := h.key(t)
		do = apikey.Update{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Name: &name}
	}
	_, _ = s.Apply(t.Context(), changeAt(h.now, do))
}

func (h *histories) key(t *rapid.T) apikey.Key {
	if len(h.keys) == 0 {
		return newKey("acme", "none", h.now)
	}
	return rapid.SampledFrom(h.keys).Draw(t, "key")
}

// view is what a store allows.
type view struct {
	keys      map[string]*apikey.Key
	suspended []string
	open      map[apikey.Digest]bool
}

func (h *histories) view(t *rapid.T, s *Store) view {
	v := view{keys: map[string]*apikey.Key{}, open: map[apikey.Digest]bool{}}
	for _, key := range h.keys {
		if found, err := s.Lookup(key.Digest); err == nil {
			v.keys[key.ID] = found
		}
	}
	var err error
	if v.suspended, err = s.SuspendedWorkspaces(); err != nil {
		t.Fatal(err)
	}
	for _, feed := range h.feeds {
		_, err := s.Feed(t.Context(), feed)
		v.open[feed] = err == nil
	}
	return v
}

// holds checks that nothing has got more access than in either history.
func (h *histories) holds(t *rapid.T, lost, since, now view, resumed bool) {
	for _, before := range []view{lost, since} {
		for id, key := range before.keys {
			got := now.keys[id]
			switch {
			case got == nil:
				t.Fatalf("the key %s is missing", id)
			case !key.RevokedAt.IsZero() && got.RevokedAt.IsZero():
				t.Fatalf("the key %s is not revoked any more", id)
			case got.ActiveUntil().After(key.ActiveUntil()):
				t.Fatalf("the key %s ends at %v, and before at %v", id, got.ActiveUntil(), key.ActiveUntil())
			}
		}
	}
	for _, ws := range since.suspended {
		if !slices.Contains(now.suspended, ws) {
			t.Fatalf("%s is not suspended any more", ws)
		}
	}
	for _, ws := range lost.suspended {
		if !resumed && !slices.Contains(now.suspended, ws) {
			t.Fatalf("%s is not suspended any more, and nobody has resumed it", ws)
		}
	}
}

// Whatever was changed before a fleet went back and after it: once a replica has put back
// what was lost, nothing that had ended in either history is allowed, and another replica
// with the same finds nothing left to put back.
func TestPutBack_neverAllowsMore(t *testing.T) {
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(root, "")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		log := newFleet(t, dir, rapid.SampledFrom([]int{2, 2, 3}).Draw(t, "replicas"), nil)
		all := slices.Clone(log.replicas)
		for _, s := range all {
			defer s.Close()
		}
		own, other, same := all[0], all[1], all[2:]
		h := &histories{now: time.Now().UTC().Truncate(time.Millisecond).Add(-22 * day)} // keys are put back by the machine's clock
		for range rapid.IntRange(0, 8).Draw(t, "before") {
			h.change(t, own)
		}
		since := &orderedLog{entries: slices.Clone(log.entries), lagging: map[*Store]bool{}, replicas: []*Store{other}}
		log.replicas = slices.Delete(log.replicas, 1, 2)
		since.follow(other)
		for range rapid.IntRange(1, 12).Draw(t, "lost") {
			h.change(t, own)
		}
		forked := len(since.entries)
		for range rapid.IntRange(0, 6).Draw(t, "since") {
			h.change(t, other)
		}
		resumed := slices.ContainsFunc(since.entries[forked:], func(e entry) bool {
			return slices.ContainsFunc(e.records, func(r apikey.Record) bool { return r.Kind == apikey.RecordSuspension && r.Value == nil })
		})
		lost, gained := h.view(t, own), h.view(t, other)
		since.putBack(t, own)
		for _, s := range same {
			since.putBack(t, s)
			sameRecords(t, "a replica with the same", recordsOf(t, s), recordsOf(t, own))
		}
		soundRecords(t, own)
		h.holds(t, lost, gained, h.view(t, own), resumed)
		for feed, open := range h.view(t, own).open {
			if open && !lost.open[feed] && !gained.open[feed] {
				t.Fatalf("a feed is open that was not")
			}
		}
		sameRecords(t, "the replica that was there", recordsOf(t, other), recordsOf(t, own))
	})
}

// putBack has a replica of another history go over to that of the log.
func (l *orderedLog) putBack(t *rapid.T, s *Store) {
	first := len(l.replicas) > 1
	now := recordsOf(t, l.replicas[0])
	c, err := s.BeginComparison(math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Add(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustReload(t, s, now, l.head())
	l.replicas = append(l.replicas, s)
	l.follow(s)
	before := len(l.entries)
	if err := s.PutBack(t.Context(), func(apikey.Outcome, int) {}); err != nil {
		t.Fatal(err)
	}
	if first && len(l.entries) != before {
		t.Fatalf("the second replica has put back %d changes", len(l.entries)-before)
	}
}
