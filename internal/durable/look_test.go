package durable

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestLook(t *testing.T) {
	db := openNew(t)
	value := func() string {
		t.Helper()
		var found string
		err := db.Look([]byte("a"), func(value []byte) error { found = string(value); return nil })
		if errors.Is(err, ErrNotFound) {
			return "none"
		}
		if err != nil {
			t.Fatalf("Look: got error %v, want none", err)
		}
		return found
	}
	check := func(what, want string) {
		t.Helper()
		if got := value(); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	check("before", "none")
	for _, text := range []string{"1", "2"} {
		if err := change(db, start, func(txn *Txn) error { return txn.Set([]byte("a"), []byte(text)) }); err != nil {
			t.Fatal(err)
		}
		check("after a change", text)
		check("once more", text)
	}
	if err := change(db, start, func(txn *Txn) error { return txn.Delete([]byte("a")) }); err != nil {
		t.Fatal(err)
	}
	check("deleted", "none")

	refused := errors.New("damaged")
	if err := change(db, start, func(txn *Txn) error { return txn.Set([]byte("a"), nil) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Look([]byte("a"), func([]byte) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("got error %v, want that of the function", err)
	}
	closeDB(t, db)
	if err := db.Look([]byte("a"), func([]byte) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got error %v, want %v", err, ErrClosed)
	}
}

// A look sees every change that was made before it, while changes and notes are made.
func TestLook_seesWhatWasMade(t *testing.T) {
	db := openNew(t)
	var made atomic.Uint64
	write := func(n uint64) error {
		err := change(db, start, func(txn *Txn) error { return txn.Set([]byte("n"), binary.BigEndian.AppendUint64(nil, n)) })
		made.Store(n)
		return errors.Join(err, db.Note(func(txn *Txn) error { return txn.Set([]byte(notePrefix), nil) }))
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	var looking sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		looking.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				least, found := made.Load(), uint64(0)
				err := db.Look([]byte("n"), func(value []byte) error { found = binary.BigEndian.Uint64(value); return nil })
				if err != nil || found < least {
					t.Errorf("got %d and error %v, want %d at least", found, err, least)
					return
				}
			}
		})
	}
	for n := uint64(2); n < 100; n++ {
		if err := write(n); err != nil {
			t.Fatal(err)
		}
	}
	close(done)
	looking.Wait()
}

// A look never begins a transaction of Badger's, which waits for a commit in progress.
func TestLook_whileChangeIsWritten(t *testing.T) {
	db := openNew(t)
	set := func(text string) func(*Txn) error {
		return func(txn *Txn) error { return txn.Set([]byte("a"), []byte(text)) }
	}
	value := func() (found string) {
		t.Helper()
		err := db.Look([]byte("a"), func(value []byte) error { found = string(value); return nil })
		if err != nil {
			t.Errorf("Look: got error %v, want none", err)
		}
		return found
	}
	if err := change(db, start, set("0")); err != nil {
		t.Fatal(err)
	}
	value()
	for i, write := range []func(*DB, func(*Txn) error) error{
		func(db *DB, do func(*Txn) error) error { return change(db, start, do) },
		(*DB).Note,
		func(db *DB, do func(*Txn) error) error {
			return db.NoteAll(func(set func(key, value []byte) error) error { return set([]byte("a"), []byte("1")) })
		},
	} {
		if err := write(db, set("1")); err != nil {
			t.Fatal(err)
		}
		var during *look
		db.Inject(Faults{Commit: func(commit func() error) error {
			during = db.looks.current.Load()
			for _, step := range []func() error{func() error { return nil }, commit} {
				if err := step(); err != nil {
					return err
				}
				if got := value(); got != "1" {
					t.Errorf("write %d: got %q during the next change, want what precedes it", i, got)
				}
			}
			if db.looks.current.Load() != during {
				t.Errorf("write %d: a look during the next change began a transaction", i)
			}
			return nil
		}})
		if err := change(db, start, set("2")); err != nil {
			t.Fatal(err)
		}
		db.Inject(Faults{})
		if got := value(); got != "2" {
			t.Errorf("write %d: got %q after the next change, want %q", i, got, "2")
		}
	}
	closeDB(t, db)
	if left := db.looks.current.Load(); left != nil {
		t.Error("closed: got a transaction that is still open, want none")
	}
}
