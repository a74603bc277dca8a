package durable

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"go.uber.org/zap"
)

// openDamaged opens a database that was left with a damaged table, which has not been
// examined yet.
func openDamaged(t *testing.T) (db *DB, path, acknowledged string) {
	t.Helper()
	whole, acknowledged := makeLayered(t)
	files := imageOf(t, whole)
	name := slices.IndexFunc(files.names(), func(name string) bool { return filepath.Ext(name) == ".sst" })
	mishaps[1].do(files, files.names()[name:], 2)
	path = files.write(t)
	leaveAsIs(t, path)
	return openNoted(t, path), path, acknowledged
}

// awaitUsable waits until a database can be used, or cannot.
func awaitUsable(t *testing.T, db *DB, want bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); (db.unusable.why() == nil) != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got the reason %v why the database cannot be used, want that it can be: %t", db.unusable.why(), want)
		}
	}
}

// A database whose files are being rebuilt refuses everything, and takes changes
// afterwards.
func TestExamineAll_rebuilds(t *testing.T) {
	db, path, acknowledged := openDamaged(t)
	entered, proceed := make(chan struct{}), make(chan struct{})
	reading := make(chan error, 1)
	go func() {
		reading <- db.View(func(*Txn) error { close(entered); <-proceed; return nil })
	}()
	<-entered
	db.StartUpkeep(func(context.Context) {})
	awaitUsable(t, db, false)
	for _, err := range []error{db.View(func(*Txn) error { return nil }), change(db, start, record(newID(), active))} {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("meanwhile: got error %v, want one saying that the files are damaged", err)
		}
	}
	close(proceed)
	if err := <-reading; err != nil {
		t.Errorf("a read in progress: got error %v, want none", err)
	}
	awaitUsable(t, db, true)
	equal(t, "contents", sumOf(t, db), acknowledged)
	id := mustCreate(t, db)
	mustRevoke(t, db, id)
	closeDB(t, db)
	db = openNoted(t, path)
	equal(t, "status", statuses(t, db)[id], revoked)
}

// Where a rebuild has failed halfway, no snapshot of what it has made replaces the journal.
func TestExamineAll_rebuildFails(t *testing.T) {
	db, path, acknowledged := openDamaged(t)
	var checks int
	db.Inject(Faults{Free: func() uint64 {
		if db.rebuilding() {
			checks++
		}
		if checks == 8 {
			return 0
		}
		return 1 << 40
	}})
	db.examineAll(t.Context())
	if err := db.Snapshot(t.Context()); !errors.Is(err, ErrDamaged) {
		t.Errorf("a snapshot: got error %v, want one saying that the files are damaged", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(db.inJournal(stoppedFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the note of the stop: got error %v, want none to be there", err)
	}
	again := openNoted(t, copyOf(t, path))
	equal(t, "contents after a restart", sumOf(t, again), acknowledged)
}

// While files cannot be created, which may be why they have to be rebuilt, a rebuild waits.
// A stop does not wait for it.
func TestExamineAll_rebuildWaits(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		db, _, acknowledged := openDamaged(t)
		tried := make(chan struct{}, 1)
		db.Inject(Faults{Creatable: func() error {
			signal(tried)
			return syscall.EMFILE
		}})
		db.StartUpkeep(func(context.Context) {})
		<-tried
		<-tried
		if db.rebuilding() || !errors.Is(db.unusable.why(), ErrDamaged) {
			t.Errorf("got the reason %v why the database is not used, want that it is damaged, and no rebuild yet", db.unusable.why())
		}
		if stopped {
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			continue
		}
		db.Inject(Faults{})
		awaitUsable(t, db, true)
		equal(t, "contents", sumOf(t, db), acknowledged)
	}
}

// What is lost while files are being rebuilt, as by a merge, is noticed before they are used:
// they are rebuilt again, and meanwhile nothing is merged.
func TestRebuildOpened_mergeLost(t *testing.T) {
	path, id, want := makeNearMerge(t)
	db, logs := openObserved(t, testOptions(path), false)
	db.lost = time.Now() // so that there is a pause after the next loss
	var opened int
	var calm []bool
	var last time.Time // when Badger was opened
	db.Inject(Faults{Free: func() uint64 {
		if db.rebuilding() && db.badger == nil {
			calm, last = append(calm, db.calm), time.Now()
			if opened++; opened == 2 { // all is written, and about to be opened again
				loseRecord(t, path, id)
			}
		}
		return 1 << 40
	}})
	db.rebuildOpened(t.Context(), errors.New("a test"))
	if err := db.unusable.why(); err != nil {
		t.Fatalf("got the reason %v why the database cannot be used, want that it can be", err)
	}
	equal(t, "whether nothing was merged, whenever Badger was opened", calm, []bool{false, false, true, true})
	equal(t, "rebuilds", logged(logs, string(Rebuilding)), 2)
	equal(t, "pause", db.pause, shortestPause)
	equal(t, "whether that begins when the files are rebuilt", db.lost.After(last), true)
	equal(t, "resting", db.resting.Load(), true)
	equal(t, "records", statuses(t, db), want)
	again, _ := openObserved(t, testOptions(copyOf(t, path)), false)
	equal(t, "records after a restart", statuses(t, again), want)
}

// A rebuild that begins while a database wakes waits for that, and nothing is read during it.
func TestRebuildOpened_whileWaking(t *testing.T) {
	path, _, want := makeNearMerge(t)
	db, _ := openObserved(t, testOptions(path), false)
	db.lost, db.pause = time.Now().Add(time.Hour), time.Hour // so that it does not wake by itself
	if err := db.closeBadger(); err != nil {
		t.Fatal(err)
	}
	if err := db.reopen(); err != nil {
		t.Fatal(err)
	}
	db.lost, db.pause = time.Time{}, 0
	var waking, rebuilt sync.Once
	done := make(chan struct{})
	db.Inject(Faults{Free: func() uint64 {
		switch {
		case db.rebuilding() && db.badger == nil: // it is about to be opened
			rebuilt.Do(func() {
				if err := db.use(func() error { return nil }); !errors.Is(err, ErrDamaged) {
					t.Errorf("a read during the rebuild: got error %v, want %v", err, ErrDamaged)
				}
			})
		case db.resting.Load():
			waking.Do(func() {
				go func() {
					defer close(done)
					db.rebuildOpened(context.WithoutCancel(t.Context()), errors.New("a test"))
				}()
				awaitUsable(t, db, false)
			})
		}
		return 1 << 40
	}})
	db.wake()
	<-done
	awaitUsable(t, db, true)
	equal(t, "records", statuses(t, db), want)
}

// loseRecord deletes a record from files that nobody has open, and has their manifest name a
// merge.
func loseRecord(t *testing.T, path, id string) {
	opened, err := badger.Open(badgerOptions(path, zap.NewNop()))
	if err != nil {
		t.Error(err)
		return
	}
	err = opened.Update(func(txn *badger.Txn) error { return txn.Delete([]byte("k/" + id)) })
	err = errors.Join(err, opened.Close())
	name := filepath.Join(path, badger.ManifestFilename)
	content, readErr := os.ReadFile(name)
	merge := manifestEntry(&pb.ManifestChangeSet{Changes: []*pb.ManifestChange{{Id: 1 << 20, Op: pb.ManifestChange_CREATE}, {Id: 1 << 20, Op: pb.ManifestChange_DELETE}}})
	if err := errors.Join(err, readErr, os.WriteFile(name, append(content, merge...), 0o600)); err != nil {
		t.Error(err)
	}
}
