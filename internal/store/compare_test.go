package store

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// goneBack is a fleet that has gone back to an earlier state, and a replica that has not.
type goneBack struct {
	log  *orderedLog
	then []apikey.Record // of the fleet, when it was in that state
	at   apikey.Position
}

func (l *orderedLog) remember(t *testing.T) *goneBack {
	return &goneBack{l, recordsOf(t, l.replicas[0]), l.head()}
}

// compare compares a replica with the earlier state, and returns how many records are
// lost there.
func (b *goneBack) compare(t *testing.T, s *Store, most int) int {
	t.Helper()
	c, err := s.BeginComparison(most)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Add(t.Context(), b.then); err != nil {
		t.Fatal(err)
	}
	lost, err := c.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return lost
}

// goOver has a replica go over to the earlier state, with what it has kept.
func (b *goneBack) goOver(t *testing.T, s *Store) {
	t.Helper()
	b.log.entries = b.log.entries[:b.at.Seq]
	mustReload(t, s, b.then, b.at)
	soundRecords(t, s)
	sameRecords(t, "gone back", recordsOf(t, s), b.then)
	if err := s.PutBack(t.Context(), func(apikey.Outcome, int) {}); err != nil {
		t.Fatal(err)
	}
	soundRecords(t, s)
	for note := range contents(t, s) {
		if strings.HasPrefix(note, keptPrefix) {
			t.Errorf("%q is still kept", note)
		}
	}
}

// lossyHistory makes changes before and after a moment that a fleet goes back to.
func lossyHistory(t *testing.T, log *orderedLog) (b *goneBack, keys map[string]apikey.Key) {
	s := log.replicas[0]
	noteConfirmed(t, s, start)
	keys = history(t, s)
	keys["later revoked"] = mustCreate(t, s, "acme", "Later revoked", start)
	keys["later rotated"] = mustCreate(t, s, "acme", "Later rotated", start)
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "paid"})
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "own", Own: true})
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "feeds", Digest: digestOf("first")})
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "more", Digest: digestOf("closed later")})
	b = log.remember(t)
	now := start.Add(day)
	mustRevoke(t, s, keys["later revoked"], now)
	keys["new"] = mustRotate(t, s, keys["later rotated"], now)
	mustApply(t, s, now, apikey.Resume{WorkspaceID: "paid"})
	mustApply(t, s, now, apikey.Suspend{WorkspaceID: "unpaid"})
	mustApply(t, s, now, apikey.Suspend{WorkspaceID: "own"})
	mustApply(t, s, now, apikey.OpenFeed{WorkspaceID: "feeds", Digest: digestOf("second")})
	mustApply(t, s, now, apikey.CloseFeed{WorkspaceID: "more"})
	return b, keys
}

// What a fleet has lost is put back, and no end of access is.
func TestPutBack(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	b, keys := lossyHistory(t, log)
	before := make(map[string]apikey.Key)
	for name, key := range keys {
		before[name] = lookup(t, s, key.Digest)
	}
	events := countKind(recordsOf(t, s), apikey.RecordEvent)
	lost := b.compare(t, s, math.MaxInt)
	equal(t, "lost again", b.compare(t, s, 0), 0) // all of it is kept
	kept, err := s.Kept()
	equal(t, "kept, error", []any{kept, err}, []any{lost, nil})
	member, err := s.Membership()
	equal(t, "complete, error", []any{member.Complete, err}, []any{false, nil})

	b.goOver(t, s)
	for name := range keys {
		equal(t, name, lookup(t, s, keys[name].Digest), before[name])
	}
	suspended, err := s.SuspendedWorkspaces()
	equal(t, "suspended, error", []any{suspended, err}, []any{[]string{"own", "paid", "unpaid"}, nil})
	own, err := s.Workspace(t.Context(), "own")
	equal(t, "suspended by its own administrator, error", []any{own.Own, err}, []any{false, nil})
	feed, err := s.Feed(t.Context(), digestOf("second"))
	equal(t, "the feed, error", []any{feed, err}, []any{"feeds", nil})
	for _, ended := range []string{"first", "closed later"} {
		if ws, err := s.Feed(t.Context(), digestOf(ended)); err == nil {
			t.Errorf("%s: got the feed of %s, want none", ended, ws)
		}
	}
	equal(t, "events", countKind(recordsOf(t, s), apikey.RecordEvent), events+1)

	at := log.head()
	equal(t, "lost after that", (&goneBack{log, recordsOf(t, s), at}).compare(t, s, 0), 0)
	if err := s.PutBack(t.Context(), func(apikey.Outcome, int) { t.Error("put back again") }); err != nil {
		t.Error(err)
	}
}

func countKind(list []apikey.Record, kind apikey.RecordKind) (n int) {
	for _, r := range list {
		if r.Kind == kind {
			n++
		}
	}
	return n
}

// A replica that has lost nothing, or of which too much would have to be put back, keeps
// nothing.
func TestComparison_keepsNothing(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	b, _ := lossyHistory(t, log)
	all := b.compare(t, s, 3)
	if all <= 3 {
		t.Fatalf("got %d lost records, want all of them", all)
	}
	equal(t, "lost when nothing is", log.remember(t).compare(t, s, 0), 0)
	kept, err := s.Kept()
	equal(t, "kept, error", []any{kept, err}, []any{0, nil})
	equal(t, "lost when just as many may be", b.compare(t, s, all), all)
	kept, err = s.Kept()
	equal(t, "then kept, error", []any{kept, err}, []any{all, nil})
}

// More than fits into one transaction is put back in several.
func TestPutBack_many(t *testing.T) {
	log := openFleet(t, 2)
	s := log.replicas[0]
	b := log.remember(t)
	for i := range 300 {
		mustCreate(t, s, "acme", "Key "+strings.Repeat("x", i%30+1)+string(rune('a'+i/30)), start)
	}
	want := len(recordsOf(t, s))
	log.leave(1)
	equal(t, "lost", b.compare(t, s, math.MaxInt), want)
	var more []bool
	s.Follow(seen{asked{log, s}, func(do apikey.PutBack) { more = append(more, do.More) }})
	b.goOver(t, s)
	equal(t, "the first that is waited for", slices.Index(more, false), len(more)-1)
	got := recordsOf(t, s)
	own := len(log.entries)
	equal(t, "records without the events of putting them back", len(got), want+own)
	if own < want/maxCommitted {
		t.Errorf("got %d transactions for %d records", own, want)
	}
}

// seen is the log of a replica that tells of what is put back.
type seen struct {
	asked
	tell func(apikey.PutBack)
}

func (s seen) Commit(ctx context.Context, change apikey.Change, urgent bool, applied func(apikey.Planned) error) (apikey.Outcome, error) {
	if do, ok := change.Do.(apikey.PutBack); ok {
		s.tell(do)
	}
	return s.asked.Commit(ctx, change, urgent, applied)
}

// A replica that was reset twice before it could put anything back has all of it.
func TestPutBack_goneBackTwice(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	b, keys := lossyHistory(t, log)
	first := b.compare(t, s, math.MaxInt)
	b.log.entries = b.log.entries[:b.at.Seq]
	mustReload(t, s, b.then, b.at)
	late := mustCreate(t, s, "acme", "Late", start.Add(2*day))
	again := b.compare(t, s, math.MaxInt)
	equal(t, "lost the second time", again, 2)
	kept, err := s.Kept()
	equal(t, "kept, error", []any{kept, err}, []any{first + again, nil})
	b.goOver(t, s)
	revoked := lookup(t, s, keys["later revoked"].Digest)
	equal(t, "revoked", revoked.Status(start.Add(day)), apikey.Revoked)
	equal(t, "late", lookup(t, s, late.Digest), late)
}

// Someone who resumed a workspace after a replica was up to date is not overruled by it.
func TestPutBack_resumedSince(t *testing.T) {
	for name, c := range map[string]struct {
		resumed time.Time
		want    bool
	}{
		"since":  {start.Add(3 * day), false},
		"before": {start.Add(-day), true},
	} {
		t.Run(name, func(t *testing.T) {
			log := openFleet(t, 2)
			s, other := log.replicas[0], log.replicas[1]
			b := log.remember(t)
			mustApply(t, s, start, apikey.Suspend{WorkspaceID: "paid"})
			b.compare(t, s, math.MaxInt)
			log.entries = nil
			mustReload(t, s, b.then, b.at)
			mustReload(t, other, b.then, b.at)
			mustApply(t, other, c.resumed, apikey.Suspend{WorkspaceID: "paid"})
			mustApply(t, other, c.resumed, apikey.Resume{WorkspaceID: "paid"})
			if err := s.PutBack(t.Context(), func(apikey.Outcome, int) {}); err != nil {
				t.Fatal(err)
			}
			suspended, err := other.SuspendedWorkspaces()
			equal(t, "suspended, error", []any{len(suspended) == 1, err}, []any{c.want, nil})
		})
	}
}

// What a replica has deleted for its age, and what may have been deleted because its clock
// was wrong, does not come back with an earlier state.
func TestPutBack_forgotten(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	noteConfirmed(t, s, start)
	key := mustCreate(t, s, "acme", "Zapier", start)
	mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: digestOf("feed")})
	b := log.remember(t)
	mustRevoke(t, s, key, start)
	mustApply(t, s, start, apikey.CloseFeed{WorkspaceID: "acme"})
	wrong, right := start.Add(2*life), start.Add(day)
	settledAt(t, s, wrong)
	equal(t, "forgotten keys", mustForgetKeys(t, s, wrong, wrong), 1)
	equal(t, "forgotten feeds", mustForgetFeeds(t, s, wrong, wrong), 1)
	trust(t, s, wrong, right)

	b.compare(t, s, math.MaxInt)
	b.goOver(t, s)
	back := lookup(t, s, key.Digest)
	equal(t, "status", back.Status(right), apikey.Revoked)
	if ws, err := s.Feed(t.Context(), digestOf("feed")); err == nil {
		t.Errorf("got the feed of %s, want none", ws)
	}
	joined := log.join(t, filepath.Join(t.TempDir(), "keys"), nil)
	defer closeStore(t, joined)
	log.replicas = log.replicas[:1]
	sameRecords(t, "a replica that joins later", recordsOf(t, joined), recordsOf(t, s))
}
