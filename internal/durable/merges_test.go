package durable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"go.uber.org/zap/zapcore"
)

// A snapshot that lacks what a merge has lost does not replace the journal.
func TestSnapshot_mergeLost(t *testing.T) {
	path, id, want := makeNearMerge(t)
	db, _ := openObserved(t, testOptions(path), false)
	base := db.journal.Base()
	loseTable(t, db, 1)
	awaitEnded(t, db)
	if got, there := statuses(t, db)[id]; there {
		t.Fatalf("got the status %q, want the record to be lost: the test shows nothing", got)
	}
	mustCreate(t, db)
	for range 2 {
		if err := db.Snapshot(t.Context()); !errors.Is(err, errMergeLost) {
			t.Errorf("a snapshot: got error %v, want %v", err, errMergeLost)
		}
	}
	equal(t, "base of the journal", db.journal.Base(), base)
	closeDB(t, db)
	again, _ := openObserved(t, testOptions(path), false)
	got := statuses(t, again)
	maps.DeleteFunc(got, func(id, _ string) bool { _, known := want[id]; return !known })
	equal(t, "records after a restart", got, want)
}

// A snapshot that is being written ends when the files are to be rebuilt, which waits for it.
func TestSnapshot_rebuildBegins(t *testing.T) {
	db := openNew(t)
	mustCreate(t, db)
	txn, w, err := db.beginSnapshot(db.journal)
	if err != nil {
		t.Fatal(err)
	}
	defer txn.Discard()
	why := ErrDamaged
	db.unusable.reason.Store(&why)
	if err := writeSnapshot(db.Pacer(t.Context()), db.txn(txn), w); !errors.Is(err, why) {
		t.Errorf("got error %v, want %v", err, why)
	}
	db.unusable.reason.Store(nil)
	if err := w.Discard(); err != nil {
		t.Error(err)
	}
}

// What a merge has lost is noticed while the database is in use. Until the files have been
// rebuilt, nothing is read, and before that, the owner forgets what it has read.
func TestWatchMerges_lost(t *testing.T) {
	path, _, want := makeNearMerge(t)
	var outdated atomic.Int64
	o := testOptions(path)
	var db *DB
	o.Outdated = func() {
		outdated.Add(1)
		if err := db.View(func(*Txn) error { return nil }); !errors.Is(err, ErrDamaged) {
			t.Errorf("a read meanwhile: got error %v, want %v", err, ErrDamaged)
		}
		if err := db.Snapshot(t.Context()); !errors.Is(err, ErrDamaged) {
			t.Errorf("a snapshot meanwhile: got error %v, want %v", err, ErrDamaged)
		}
	}
	db, logs := openObserved(t, o, false)
	db.StartUpkeep(func(context.Context) {})
	loseTable(t, db, 1)
	for deadline := time.Now().Add(time.Minute); logged(logs, string(Rebuilt)) == 0 || db.unusable.why() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was rebuilt: %v", logs.All())
		}
	}
	equal(t, "records", statuses(t, db), want)
	equal(t, "how often the owner was told", outdated.Load(), int64(1))
	for _, entry := range logs.All() {
		if entry.Message == string(Rebuilding) {
			equal(t, "level of the log", entry.Level, zapcore.ErrorLevel)
			if got := fmt.Sprint(entry.ContextMap()["error"]); !strings.HasPrefix(got, errMergeLost.Error()) {
				t.Errorf("got the reason %q, want the beginning %q", got, errMergeLost)
			}
		}
	}
	equal(t, "findings", check(t, db), map[string]string{})
	mustRevoke(t, db, mustCreate(t, db))
	snapshot(t, db)
}

// Where a deeper level has an older version of a record, a lost table brings that back, and
// neither a snapshot nor a start makes it final.
func TestWatchMerges_olderVersion(t *testing.T) {
	size := baseLevelSize
	defer func() { baseLevelSize = size }()
	baseLevelSize = 1 << 20 // so that the second merge ends at the level above that of the first one
	path, _, want := makeNearMerge(t)
	db, _ := openObserved(t, testOptions(path), false)
	merge(t, db)
	awaitEnded(t, db)
	var id string
	for one, status := range want {
		if status == active {
			id = one
		}
	}
	mustRevoke(t, db, id)
	snapshot(t, db)
	closeDB(t, db)
	db, _ = openObserved(t, testOptions(path), false)
	blocked := filepath.Join(db.Path(), tableName(slices.Max(tableIDs(t, db))+1))
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.badger.Flatten(1), os.Remove(blocked)); err != nil { // merges, as Badger does by itself
		t.Fatal(err)
	}
	equal(t, "status that Badger has", statuses(t, db)[id], active)
	if err := db.Snapshot(t.Context()); !errors.Is(err, errMergeLost) {
		t.Errorf("a snapshot: got error %v, want %v", err, errMergeLost)
	}
	killed, _ := openObserved(t, testOptions(copyOf(t, db.Path())), false)
	equal(t, "status after a kill", statuses(t, killed)[id], revoked)
	if err := db.proveSoFar(t.Context()); !errors.Is(err, errMergeLost) {
		t.Errorf("got error %v, want %v", err, errMergeLost)
	}
	equal(t, "status afterwards", statuses(t, db)[id], revoked)
}

// What a merge has lost is noticed after a kill, even if no table followed.
func TestOpen_mergeLost(t *testing.T) {
	path, _, want := makeNearMerge(t)
	db, _ := openObserved(t, testOptions(path), false)
	loseTable(t, db, 1)
	awaitEnded(t, db)
	again, logs := openObserved(t, testOptions(copyOf(t, db.Path())), false)
	equal(t, "records", statuses(t, again), want)
	if got := again.Repairs(); len(got) == 0 || !errors.Is(got[0].Reason, errMergeLost) {
		t.Errorf("got the repairs %v, want a rebuild because of a merge", got)
	}
	equal(t, "comparisons", logged(logs, compared) > 0, true)
}

// A lost table that had nothing but notes is reported once, and everything is compared once.
func TestWatchMerges_notesLost(t *testing.T) {
	path, _, want := makeNearMerge(t)
	db, logs := openObserved(t, testOptions(path), false)
	loseTable(t, db, 3)
	awaitEnded(t, db)
	for range 3 {
		if err := db.proveSoFar(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	snapshot(t, db)
	equal(t, "comparisons", logged(logs, compared), 1)
	equal(t, "warnings", logged(logs, "a table could not be created when"), 1)
	equal(t, "repairs", repairsOf(db), "")
	equal(t, "records", statuses(t, db), want)
	again, logs := openObserved(t, testOptions(copyOf(t, db.Path())), false)
	equal(t, "records after a restart", statuses(t, again), want)
	equal(t, "comparisons after a restart", logged(logs, compared), 0)
}

// A whole merge takes no comparison: not while the database is open, not for a snapshot, and
// not at the next start, even after a kill. A start after a kill right after the merge takes
// one, and finds nothing.
func TestWatchMerges_whole(t *testing.T) {
	path, _, want := makeNearMerge(t)
	db, logs := openObserved(t, testOptions(path), false)
	merge(t, db)
	awaitEnded(t, db)
	if begun, _ := db.merges.count(); begun < 3 {
		t.Errorf("got %d tables that merges have begun, want at least 3", begun)
	}
	restart := func(name string, comparisons int) {
		again, logs := openObserved(t, testOptions(copyOf(t, db.Path())), false)
		equal(t, name+": records", statuses(t, again), want)
		equal(t, name+": comparisons", logged(logs, compared), comparisons)
		equal(t, name+": repairs", repairsOf(again), "")
		_, logs = openObserved(t, testOptions(copyOf(t, again.Path())), false)
		equal(t, name+", twice: comparisons", logged(logs, compared), 0)
	}
	restart("killed at once", 1)
	if err := db.proveSoFar(t.Context()); err != nil {
		t.Fatal(err)
	}
	restart("killed later", 0)
	snapshot(t, db)
	if taken, err := db.journal.OpenSnapshot(); err != nil {
		t.Error(err)
	} else if err := errors.Join(taken.Read(func(key, _ []byte) error {
		if string(key) == string(provenKey) {
			t.Errorf("the snapshot has %q, which is about the tables", key)
		}
		return nil
	}), taken.Close()); err != nil {
		t.Error(err)
	}
	restart("killed after a snapshot", 0)
	equal(t, "comparisons", logged(logs, compared), 0)
}

// Once Badger has rewritten its manifest, everything is compared once, and what that proves is
// recorded: the merges that follow are proven by counting again.
func TestWatchMerges_manifestRewritten(t *testing.T) {
	path, _, _ := makeNearMerge(t)
	db, logs := openObserved(t, testOptions(path), false)
	merge(t, db)
	awaitEnded(t, db)
	if err := db.proveSoFar(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer rewriteManifest(t, path)()
	for range 2 {
		if err := db.proveSoFar(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "comparisons", logged(logs, compared), 1)
	content, _, err := readManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := db.provenIn(content)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "how much of the manifest is recorded as proven", recorded, int64(len(content)))
}

// A manifest is read as a whole, and known, although Badger replaces it meanwhile.
func TestManifestFile_replaced(t *testing.T) {
	path := t.TempDir()
	name := filepath.Join(path, badger.ManifestFilename)
	short := append([]byte("Bdgr"), 0, 0, 0, 8)
	long := append(slices.Clone(short), manifestEntry(&pb.ManifestChangeSet{Changes: []*pb.ManifestChange{{Id: 1, Op: pb.ManifestChange_CREATE}}})...)
	replace := func(content []byte) {
		if err := errors.Join(os.WriteFile(name+".new", content, 0o600), os.Rename(name+".new", name)); err != nil {
			t.Error(err)
		}
	}
	replace(long)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			replace([][]byte{short, long}[n%2])
		}
	}()
	for range 1000 {
		file, content, manifest, err := manifestFile(path)
		if err != nil || file.Size() != int64(len(content)) || len(content) != len([][]byte{short, long}[len(manifest.Tables)]) {
			t.Errorf("got error %v, the file %v, %d bytes and %d tables, want the same manifest", err, file, len(content), len(manifest.Tables))
			break
		}
	}
	close(stop)
	<-stopped
}

// A table that was made of a memtable at the second try is none that a merge has lost.
func TestWatchMerges_memtableTwice(t *testing.T) {
	db, logs := openObserved(t, testOptions(filepath.Join(t.TempDir(), "keys")), false)
	mustCreate(t, db)
	blocked := filepath.Join(db.Path(), tableName(1))
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	writeNotes(t, db, 9<<20)
	for deadline := time.Now().Add(time.Minute); len(tableIDs(t, db)) == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the memtable was not written")
		}
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	equal(t, "tables", tableIDs(t, db), []uint64{2})
	if err := db.proveSoFar(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "comparisons", logged(logs, compared), 0)
}

// A start after a clean stop reads everything first if merges before it have not been proven.
func TestOpen_asLeftUnproven(t *testing.T) {
	path, acknowledged := makeLayered(t)
	db := openNoted(t, path)
	db.examineAll(t.Context())
	if err := db.note(func(txn *Txn) error { return txn.Delete(provenKey) }); err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	if _, err := os.Stat(db.inJournal(stoppedFile)); err != nil {
		t.Fatalf("a stop was not noted: %v", err)
	}
	o := notedOptions(path)
	for _, comparisons := range []int{1, 0} {
		db, logs := openObserved(t, o, false)
		equal(t, "all tables were read", db.unexamined.Load() == nil, comparisons == 1)
		equal(t, "comparisons", logged(logs, compared), comparisons)
		equal(t, "contents", sumOf(t, db), acknowledged)
		db.examineAll(t.Context())
		closeDB(t, db)
	}
}

// If merges lose tables again and again, nothing is merged for a while, and what is kept of
// the files that are rebuilt is bounded.
func TestWatchMerges_lostAgain(t *testing.T) {
	made, _, want := makeNearMerge(t)
	path := made + " [1"
	if err := os.Rename(made, path); err != nil {
		t.Fatal(err)
	}
	db, _ := openObserved(t, testOptions(path), false)
	for n, pause := range []time.Duration{0, shortestPause, 2 * shortestPause, 4 * shortestPause, 8 * shortestPause} {
		db.rebuildOpened(t.Context(), errMergeLost)
		if err := db.unusable.why(); err != nil {
			t.Fatal(err)
		}
		var got time.Duration
		db.BetweenChanges(func() { got = db.pause })
		equal(t, fmt.Sprintf("pause after loss %d", n+1), got, pause)
		mustRevoke(t, db, mustCreate(t, db))
	}
	entries, err := os.ReadDir(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	kept := slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasPrefix(e.Name(), damagedDirectory) })
	equal(t, "directories that are kept", len(kept), enoughDamaged)
	got := statuses(t, db)
	maps.DeleteFunc(got, func(id, _ string) bool { _, known := want[id]; return !known })
	equal(t, "records", got, want)

	db.BetweenChanges(func() { db.lost = time.Now().Add(-longestPause) })
	for deadline := time.Now().Add(time.Minute); db.resting.Load(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing is merged after the pause")
		}
	}
	db.noteLoss(time.Now().Add(2 * forgetLoss))
	equal(t, "pause after a loss much later", db.pause, time.Duration(0))
}
