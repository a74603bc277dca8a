package durable

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

func TestBlocked(t *testing.T) {
	for _, test := range []struct {
		name string
		want error
		do   func(*DB) error
	}{
		{"nothing wrong", nil, func(*DB) error { return nil }},
		{"a full disk", ErrNoSpace, func(db *DB) error { leave(db, 0); return nil }},
		{"a disk that is nearly full", ErrOnlyUrgent, func(db *DB) error { leave(db, minFree+reserve-1); return nil }},
		{"a directory that is gone", ErrMoved, func(db *DB) error { return os.RemoveAll(db.Path()) }},
		{"a journal that is gone", ErrJournalMoved, func(db *DB) error { return os.RemoveAll(db.journalPath()) }},
		{"a change in doubt", ErrInDoubt, func(db *DB) error { db.doubt = ErrInDoubt; return nil }},
		{"a closed database", ErrClosed, (*DB).Close},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := openNew(t)
			if err := test.do(db); err != nil {
				t.Fatal(err)
			}
			if got := db.Blocked(); !errors.Is(got, test.want) || (got == nil) != (test.want == nil) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// After a change in doubt, nothing more is changed in its turn: the next change would be
// counted as the last one, so that the next start would not look for the one in doubt.
func TestUpdate_inDoubt(t *testing.T) {
	db := openNew(t)
	id, later := mustCreate(t, db), newID()
	fails := true
	db.Inject(Faults{Commit: func(commit func() error) error {
		if fails {
			fails = false
			return errors.New("input/output error")
		}
		return commit()
	}})
	if err := db.Change(t.Context(), "", false, func(turn *Turn) error {
		err := turn.Update(record(id, revoked))
		if _, refused := errors.AsType[*ImmutableError](err); refused || !errors.Is(err, ErrInDoubt) {
			t.Errorf("the first: got %v, want %v itself", err, ErrInDoubt)
		}
		revision := turn.Revision()
		for range 2 {
			if _, refused := errors.AsType[*ImmutableError](turn.Update(record(later, active))); !refused {
				t.Error("a later one: got no *ImmutableError")
			}
		}
		equal(t, "entries of the journal after it", turn.Revision()-revision, uint64(0))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	db = reopen(t, db)
	equal(t, "after a restart", statuses(t, db), map[string]string{id: revoked})
}

// leave limits the free disk space of a database.
func leave(db *DB, bytes uint64) { db.Inject(Faults{Free: func() uint64 { return bytes }}) }

// A change that takes long is reported, but not at once.
func TestBlocked_heldUp(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		db := &DB{probing: make(chan struct{}, 1)}
		db.changes.Lock()
		equal(t, "at once", db.Blocked(), error(nil))
		time.Sleep(4 * time.Second)
		if heldUp, ok := errors.AsType[*HeldUpError](db.Blocked()); !ok || heldUp.For < 4*time.Second {
			t.Errorf("after a while: got %v, want *HeldUpError of 4s or more", heldUp)
		}
		db.changes.Unlock()
	})
}

// Blocked does not wait for a disk that hangs.
func TestBlocked_hangs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		db := &DB{probing: make(chan struct{}, 1)}
		db.probing <- struct{}{} // a probe that never returns
		equal(t, "why", db.Blocked(), ErrHangs)
	})
}
