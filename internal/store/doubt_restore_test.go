package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// loseCommitsAfter has the disk take some more commits, and none after those.
func loseCommitsAfter(s *Store, left int) {
	s.db.Inject(durable.Faults{Commit: func(commit func() error) error {
		if left--; left >= 0 {
			return commit()
		}
		return errors.New("input/output error")
	}})
}

// What records that come in bulk were to end is refused until the restart, if it is unknown
// whether they were written, and nothing else is.
func TestStore_recordsInDoubtAreRefused(t *testing.T) {
	begun := time.Now().Truncate(time.Millisecond) // records of a fleet are judged by the clock
	at := begun.Add(time.Second)
	source := openNew(t)
	key, other := mustCreate(t, source, "acme", "Zapier", begun), mustCreate(t, source, "acme", "Billing", begun)
	before := mustBackup(t, source, begun)
	mustRevoke(t, source, key, at)
	mustApply(t, source, at, apikey.Suspend{WorkspaceID: "globex"})
	mustApply(t, source, at, apikey.Create{Key: newKey("acme", "Warehouse", at)})
	revoked := lookup(t, source, key.Digest)
	records := []apikey.Record{
		keyRecordOf(t, revoked), keyRecordOf(t, other),
		recordOf(t, apikey.RecordSuspension, "globex", workspaceRecord{SuspendedAt: toMillis(at)}),
	}

	replica := func(t *testing.T) (s *Store, at, next apikey.Position) {
		log := openFleet(t, 1)
		s, at = log.replicas[0], log.after(nil, "", false)
		mustReload(t, s, []apikey.Record{keyRecordOf(t, key), keyRecordOf(t, other)}, at)
		next = at
		next.Seq++
		return s, at, next
	}
	for _, test := range []struct {
		name  string
		again int // what is refused, if it is tried again, of what was not tried
		begin func(*testing.T) (s *Store, do func() error)
	}{
		{"restore", 0, func(t *testing.T) (*Store, func() error) {
			s := open(t, filepath.Join(t.TempDir(), "keys"), nil)
			mustRestore(t, s, before, begun)
			backup := mustBackup(t, source, at)
			loseCommitsAfter(s, 1) // that of the note that the restore has begun
			return s, func() error { _, err := restoreAt(t, s, backup, at, apikey.Restore{}); return err }
		}},
		{"replay", 2, func(t *testing.T) (*Store, func() error) {
			s, at, next := replica(t)
			loseCommitsAfter(s, 0)
			return s, func() error { return s.Replay(t.Context(), at, next, records) }
		}},
		{"reload", 2, func(t *testing.T) (*Store, func() error) {
			s, _, _ := replica(t)
			loseCommitsAfter(s, 1) // that of the note that a reload has begun
			return s, func() error {
				r, err := s.BeginReload(t.Context())
				if err != nil {
					return err
				}
				defer r.Close()
				return r.Add(t.Context(), records)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, do := test.begin(t)
			var ended []apikey.Digest
			var suspended []string
			s.onChange = func(o apikey.Outcome) {
				if !o.InDoubt {
					t.Errorf("told of %+v as if it had been made", o)
				}
				ended = append(ended, o.Ended...)
				if o.Workspace.Suspended() {
					suspended = append(suspended, o.Workspace.ID)
				}
			}
			if err := do(); !errors.Is(err, apikey.ErrInDoubt) {
				t.Fatalf("got error %v, want %v", err, apikey.ErrInDoubt)
			}
			equal(t, "keys that are refused", ended, []apikey.Digest{key.Digest})
			equal(t, "workspaces that are refused", suspended, []string{"globex"})
			if !lookup(t, s, key.Digest).RevokedAt.IsZero() {
				t.Error("the store shows the key as revoked: this proves nothing")
			}
			ended, suspended = nil, nil
			if err := do(); errors.Is(err, apikey.ErrInDoubt) || !errors.Is(err, apikey.ErrStoreUnavailable) {
				t.Errorf("once more: got error %v, want that no changes are made", err)
			}
			equal(t, "how much is refused because of what was not tried", len(ended)+len(suspended), test.again)
		})
	}
}

// A key that a reload was to delete, because the fleet does not have it, is refused too.
func TestReload_deletionsInDoubtAreRefused(t *testing.T) {
	source, now := openNew(t), time.Now().Truncate(time.Millisecond)
	gone, kept := mustCreate(t, source, "acme", "Zapier", now), mustCreate(t, source, "acme", "Billing", now)
	log := openFleet(t, 1)
	s, at := log.replicas[0], log.after(nil, "", false)
	mustReload(t, s, []apikey.Record{keyRecordOf(t, gone), keyRecordOf(t, kept)}, at)
	r, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	all := []apikey.Record{keyRecordOf(t, kept)}
	if err := r.Add(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	var refused []apikey.Digest
	s.onChange = func(o apikey.Outcome) {
		if o.InDoubt {
			refused = append(refused, o.Ended...)
		}
	}
	loseCommitsAfter(s, 0)
	if err := r.Finish(t.Context(), at, hashOf(all)); !errors.Is(err, apikey.ErrInDoubt) {
		t.Fatalf("got error %v, want %v", err, apikey.ErrInDoubt)
	}
	equal(t, "keys that are refused", refused, []apikey.Digest{gone.Digest})
}
