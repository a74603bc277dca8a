package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// interrupting is a context that does something each time it was asked so often
// whether it has ended.
type interrupting struct {
	context.Context
	every, asked int
	do           func()
}

func (c *interrupting) Err() error {
	if c.asked++; c.asked%c.every == 0 {
		c.do()
	}
	return c.Context.Err()
}

// TestRestore_besideChanges: what the transactions of a restore hold in memory is
// read again after a change by others.
func TestRestore_besideChanges(t *testing.T) {
	const batches = 3
	now := start.Add(time.Hour)
	source := openNew(t)
	var keys []apikey.Key
	for i := range batches * restoredAtOnce {
		keys = append(keys, newKey("acme", fmt.Sprint("Key ", i), start))
	}
	putKeys(t, source, keys)
	backup := mustBackup(t, source, now)

	s := openNew(t)
	created := 0
	ctx := &interrupting{Context: t.Context(), every: restoredAtOnce / 2, do: func() {
		mustCreate(t, s, "acme", fmt.Sprint("Another key ", created), now)
		created++
	}}
	done, err := s.Restore(ctx, bytes.NewReader(backup), changeAt(now, nil), apikey.Restore{}, io.Discard)
	if err != nil {
		t.Fatalf("Restore: got error %v, want none", err)
	}
	equal(t, "restored keys", done.Keys, len(keys))
	if created < 2*batches {
		t.Fatalf("got %d keys created meanwhile, want %d at least", created, 2*batches)
	}
	equal(t, "active, expired and revoked keys", counts(t, s, "acme", now), [3]int{len(keys) + created, 0, 0})
	equal(t, "findings", check(t, s, now), map[string]string{})
}

// TestTransaction_held: a transaction reads the counts and lists that it has changed,
// and writes what they are at its end.
func TestTransaction_held(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Kept", start)
	key := newKey("globex", "Erased", start)
	before := contents(t, s)
	if err := behind(s, func(txn *transaction) error {
		if err := putNewKey(txn, &key); err != nil {
			return err
		}
		if r, err := loadRoster(txn, "globex"); r.Current != 1 || err != nil {
			t.Errorf("got %d current keys (error %v), want the one of the transaction", r.Current, err)
		}
		if err := nameTaken(txn, "globex", "ERASED", start); !errors.Is(err, apikey.ErrNameTaken) {
			t.Errorf("got error %v for the name of the key, want that it is taken", err)
		}
		if err := eraseKey(txn, &key); err != nil {
			return err
		}
		if _, err := txn.Get(rosterKey("globex")); !errors.Is(err, durable.ErrNotFound) {
			t.Errorf("got error %v for the roster of a workspace without keys, want that there is none", err)
		}
		if err := nameTaken(txn, "globex", "ERASED", start); err != nil {
			t.Errorf("got error %v for the name of the erased key, want none", err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	equal(t, "the store", contents(t, s), before)
}

// TestTransaction_lastCounts: a transaction begins with the counts of the last one, unless
// that was not committed, or something else was changed since.
func TestTransaction_lastCounts(t *testing.T) {
	s := openNew(t)
	insertOne := func(name string, then error) error {
		return behind(s, func(txn *transaction) error {
			key := newKey("acme", name, start)
			return errors.Join(insert(txn, &key), then)
		})
	}
	current := func(what string, want int, held bool) {
		t.Helper()
		if err := behind(s, func(txn *transaction) error {
			if _, got := txn.held.counts[string(rosterKey("acme"))]; got != held {
				t.Errorf("%s: got %v, want that the roster is held: %v", what, got, held)
			}
			r, err := loadRoster(txn, "acme")
			equal(t, what, int(r.Current), want)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := insertOne("Zapier production", nil); err != nil {
		t.Fatal(err)
	}
	current("after a change", 1, true)
	refused := errors.New("refused")
	if err := insertOne("Warehouse sync", refused); !errors.Is(err, refused) {
		t.Fatalf("got error %v, want %v", err, refused)
	}
	current("after one that was not committed", 1, false)
	current("after a transaction that read it", 1, true)
	if err := s.inTurn(t.Context(), "", false, func(turn *durable.Turn) error {
		return turn.Update(func(txn *durable.Txn) error { return txn.Set(rosterKey("acme"), []byte(`{"current":7}`)) })
	}); err != nil {
		t.Fatal(err)
	}
	current("after another change", 7, false)
	if err := behind(s, func(txn *transaction) error { return (&roster{Current: 1}).save(txn, "acme") }); err != nil {
		t.Fatal(err)
	}
	for i := range maxHeld {
		if err := behind(s, func(txn *transaction) error {
			_, err := loadRoster(txn, fmt.Sprint("workspace-", i))
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	current("after so many that none is held any more", 1, false)
}
