package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// queueUp makes changes at the same time: they wait while the store is busy, and then have
// to share a turn. It returns their errors.
func queueUp(t *testing.T, s *Store, changes ...apikey.Change) []error {
	t.Helper()
	errs := make([]error, len(changes))
	var callers sync.WaitGroup
	err := s.db.Change(t.Context(), "", false, func(*durable.Turn) error {
		for i, change := range changes {
			queued := s.db.Waiting()
			callers.Go(func() { _, errs[i] = s.Apply(context.Background(), change) })
			for s.db.Waiting() == queued {
				runtime.Gosched()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	callers.Wait()
	return errs
}

// Changes that wait at the same time are one transaction. Each has its own result and event,
// and a refused one does not affect the others.
func TestApply_together(t *testing.T) {
	s := openNew(t)
	old := mustCreate(t, s, "acme", "Warehouse sync", start)
	before := mustApply(t, s, start, apikey.Lookup{Digest: old.Digest}).Propagation.Revision
	changes := []apikey.Change{
		changeAt(start, apikey.Create{Key: newKey("acme", "Zapier production", start)}),
		changeAt(start, apikey.Create{Key: newKey("acme", "zapier production", start)}), // taken by the one before
		changeAt(start, apikey.Create{Key: newKey("globex", "Zapier production", start)}),
		changeAt(start, apikey.Update{WorkspaceID: "acme", KeyID: "key_01JDAAAAAAAAAAAAAAAAAAAAAA"}),
		changeAt(start, apikey.Lookup{Digest: old.Digest}),
	}
	want := []error{nil, apikey.ErrNameTaken, nil, apikey.ErrNotFound, nil}
	for i, err := range queueUp(t, s, changes...) {
		if !errors.Is(err, want[i]) {
			t.Errorf("change %d: got %v, want %v", i, err, want[i])
		}
	}
	ended := []apikey.Change{
		changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: old.ID, Reason: "left"}),
		changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: old.ID, Reason: "leaked"}), // unchanged
		changeAt(start, apikey.Suspend{WorkspaceID: "unpaid"}),
	}
	for i, err := range queueUp(t, s, ended...) {
		if err != nil {
			t.Errorf("end %d: got %v, want none", i, err)
		}
	}
	after := mustApply(t, s, start, apikey.Lookup{Digest: old.Digest}).Propagation.Revision
	// Two for the changes and one for the last look-up; upkeep that queues up at the same time
	// divides them further.
	if got := after - before; got < 3 || got > 5 {
		t.Errorf("got %d transactions for %d changes, want 3", got, len(changes)+len(ended)+1)
	}
	equal(t, "events", len(allEvents(t, s, "")), 1+1+5+2+1)
	equal(t, "findings", check(t, s, start), map[string]string{})

	s = reopen(t, s)
	key := lookup(t, s, old.Digest)
	equal(t, "the reason of the revocation after a restart", key.RevokeReason, "left")
	lookup(t, s, changes[0].Do.(apikey.Create).Key.Digest)
	lookup(t, s, changes[2].Do.(apikey.Create).Key.Digest)
}

// Urgent changes are in the next transaction, no matter who waits, and so is each party:
// one that asks for much does not fill it.
func TestApply_togetherIsFair(t *testing.T) {
	s := openNew(t)
	key := mustCreate(t, s, "acme", "Warehouse sync", start)
	var changes []apikey.Change
	for range 100 {
		changes = append(changes, changeAt(start, apikey.Create{Key: newKey("greedy", rand.Text(), start)}))
	}
	revoke := changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})
	modest := changeAt(start, apikey.Create{Key: newKey("modest", "Zapier production", start)})
	var order []string
	s.onChange = func(o apikey.Outcome) { order = append(order, o.Event.WorkspaceID) }
	for i, err := range queueUp(t, s, append(changes, revoke, modest)...) {
		if err != nil {
			t.Errorf("change %d: got %v, want it made", i, err)
		}
	}
	equal(t, "first", order[0], "acme")
	if at := slices.Index(order, "modest"); at > 2 {
		t.Errorf("the modest one came after %d others, want at most 2", at)
	}
}

// If one of the changes cannot be made, the others are, each alone.
func TestApply_togetherOneFails(t *testing.T) {
	s := openNew(t)
	broken, whole := mustCreate(t, s, "acme", "Warehouse sync", start), mustCreate(t, s, "acme", "Zapier production", start)
	if err := s.db.Note(func(txn *durable.Txn) error { return txn.Set(recordKey(broken.ID), []byte("{")) }); err != nil {
		t.Fatal(err)
	}
	errs := queueUp(t, s,
		changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: broken.ID}),
		changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: whole.ID}),
	)
	if !errors.Is(errs[0], apikey.ErrStoreUnavailable) || errs[1] != nil {
		t.Errorf("got %v, want the first to fail alone", errs)
	}
	if key := lookup(t, s, whole.Digest); key.RevokedAt.IsZero() {
		t.Error("got an active key, want it revoked")
	}
}

// If nobody knows whether the transaction was written, none of its changes is answered as
// made, and what they were to end is refused.
func TestApply_togetherInDoubt(t *testing.T) {
	s := openNew(t)
	first, second := mustCreate(t, s, "acme", "Warehouse sync", start), mustCreate(t, s, "globex", "Zapier production", start)
	var told []apikey.Digest
	s.onChange = func(o apikey.Outcome) { told = append(told, o.Ended...) }
	failCommits(s)
	for i, err := range queueUp(t, s,
		changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: first.ID}),
		changeAt(start, apikey.Revoke{WorkspaceID: "globex", KeyID: second.ID}),
	) {
		if failed, ok := errors.AsType[*failure](err); !ok || failed.answer == nil {
			t.Errorf("change %d: got %v, want it to be in doubt", i, err)
		}
	}
	equal(t, "refused from now on", told, []apikey.Digest{first.Digest, second.Digest})
}

// If changes that are made each alone after all run into a failing disk, the first is in
// doubt, and the others are refused: nothing that is acknowledged may hide it from the next
// start.
func TestApply_togetherAloneInDoubt(t *testing.T) {
	s := openNew(t)
	broken, key := mustCreate(t, s, "acme", "Warehouse sync", start), mustCreate(t, s, "acme", "Zapier production", start)
	events := len(allEvents(t, s, ""))
	var whole []byte
	setBroken := func(value []byte) {
		t.Helper()
		if err := s.db.Note(func(txn *durable.Txn) (err error) {
			whole, err = txn.Get(recordKey(broken.ID))
			return errors.Join(err, txn.Set(recordKey(broken.ID), value))
		}); err != nil {
			t.Fatal(err)
		}
	}
	setBroken([]byte("{"))
	fails := true
	s.db.Inject(durable.Faults{Commit: func(commit func() error) error {
		if fails {
			fails = false
			return errors.New("input/output error")
		}
		return commit()
	}})
	created := newKey("globex", "Zapier production", start)
	var group []*grouped
	for _, do := range []apikey.Action{
		apikey.Revoke{WorkspaceID: "acme", KeyID: broken.ID}, // fails by itself
		apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID, Reason: "left"},
		apikey.Expose{WorkspaceID: "acme", KeyID: key.ID},
		apikey.Create{Key: created},
		apikey.Update{WorkspaceID: "acme", KeyID: "key_01JDAAAAAAAAAAAAAAAAAAAAAA"}, // its refusal would be an event
	} {
		group = append(group, &grouped{change: changeAt(start, do), err: errNotMade})
	}
	if err := s.db.Change(t.Context(), "", false, func(turn *durable.Turn) error {
		before := turn.Revision()
		s.commitTogether(turn, group)
		equal(t, "entries in the journal", turn.Revision()-before, uint64(1))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []*apikey.Error{nil, apikey.ErrInDoubt, apikey.ErrNoChanges, apikey.ErrNoChanges, apikey.ErrNoChanges} {
		if got, ok := errors.AsType[*failure](s.wrapInternal(group[i].err)); !ok || got.answer != want {
			t.Errorf("change %d: got %v, want the answer %v", i, group[i].err, want)
		}
	}
	s = reopen(t, s)
	setBroken(whole)
	after := lookup(t, s, key.Digest)
	equal(t, "the reason of the revocation in doubt, after a restart", after.RevokeReason, "left")
	equal(t, "when the key was exposed", after.ExposedAt, time.Time{})
	if grant, err := s.Grant(key.Digest); err != nil || grant.Rare().RevokedAt == 0 {
		t.Errorf("got the grant %+v and the error %v, want it revoked", grant, err)
	}
	if _, err := s.Lookup(created.Digest); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("the key that was not created: got %v, want none", err)
	}
	equal(t, "events, after a restart", len(allEvents(t, s, ""))-events, 1)
	equal(t, "findings", check(t, s, start), map[string]string{})
}

// A caller that has given up is answered so, unless its change was being made.
func TestApply_togetherCancelled(t *testing.T) {
	s := openNew(t)
	ctx, cancel := context.WithCancel(t.Context())
	change := changeAt(start, apikey.Create{Key: newKey("acme", "Zapier production", start)})
	given := make(chan error)
	if err := s.db.Change(t.Context(), "", false, func(*durable.Turn) error {
		go func() {
			_, err := s.Apply(ctx, change)
			given <- err
		}()
		for s.db.Waiting() == 0 {
			runtime.Gosched()
		}
		cancel()
		if err := <-given; err == nil {
			t.Error("got no error, want one saying that the caller has given up")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Lookup(change.Do.(apikey.Create).Key.Digest); !errors.Is(err, apikey.ErrNotFound) {
		t.Errorf("got %v, want no such key", err)
	}
}

// What changes cost together: with the disk's syncs shared, many callers make far more of
// them than one.
func BenchmarkApply_callers(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s := openNew(b)
			var made, turns atomic.Int64
			var all sync.WaitGroup
			b.ResetTimer()
			for c := range callers {
				all.Go(func() {
					for made.Add(1) <= int64(b.N) {
						key := newKey(fmt.Sprint("ws", c), rand.Text(), time.Now())
						outcome, err := s.Apply(b.Context(), changeAt(time.Now(), apikey.Create{Key: key}))
						if err != nil {
							b.Error(err)
							continue
						}
						if turn := int64(outcome.Propagation.Revision); turn > turns.Load() {
							turns.Store(turn)
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/float64(turns.Load()), "changes/turn")
		})
	}
}
