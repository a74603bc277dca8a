package durable

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"google.golang.org/protobuf/proto"
)

// compared is in the log whenever everything is compared because of a merge.
const compared = "comparing the key store's files with its journal"

// openObserved opens a database, with or without its upkeep, and returns its log.
func openObserved(t *testing.T, o Options, upkeep bool) (*DB, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	o.Log = zap.New(core)
	db, err := Open(o)
	if err != nil {
		t.Fatalf("Open: got error %v, want a database", err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	if upkeep {
		db.StartUpkeep(func(context.Context) {})
	}
	return db, logs
}

func logged(logs *observer.ObservedLogs, message string) (n int) {
	for _, entry := range logs.All() {
		if strings.HasPrefix(entry.Message, message) {
			n++
		}
	}
	return n
}

// nearMerge is what makeNearMerge has made.
var nearMerge struct {
	files image
	id    string // of a record that was revoked
	want  map[string]string
}

// makeNearMerge returns a database in which one more new table starts the first merge. That
// makes at least three tables: the first one has nothing but records, of which one was
// revoked before the journal's snapshot, and the third one has only notes.
func makeNearMerge(t *testing.T) (path, id string, want map[string]string) {
	t.Helper()
	if nearMerge.files == nil {
		db := openNew(t)
		nearMerge.id = mustCreate(t, db)
		mustRevoke(t, db, nearMerge.id)
		for range newTables - 3 {
			db = reopen(t, db)
			mustChange(t, db, func(txn *Txn) (err error) {
				for range 16 {
					err = errors.Join(err, longRecord(newID(), active, 40_000)(txn))
				}
				return err
			})
		}
		db = reopen(t, db)
		snapshot(t, db)
		nearMerge.want = statuses(t, db)
		closeDB(t, db)
		nearMerge.files = imageOf(t, db.Path())
	}
	return nearMerge.files.write(t), nearMerge.id, maps.Clone(nearMerge.want)
}

// loseTable has Badger merge its new tables, and fail to create one of what it makes of them:
// the first one is 1.
func loseTable(t *testing.T, db *DB, which int) {
	t.Helper()
	if got := db.badger.Levels()[0].NumTables; got != newTables-1 {
		t.Fatalf("got %d new tables, want one fewer than are merged", got)
	}
	last := slices.Max(tableIDs(t, db))
	blocked := filepath.Join(db.Path(), tableName(last+1+uint64(which))) // after that of the memtable
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	merge(t, db)
	if err := os.Remove(blocked); err != nil {
		t.Error(err)
	}
}

// merge adds a new table, and waits until Badger has merged it with the others.
func merge(t *testing.T, db *DB) {
	t.Helper()
	name := filepath.Join(db.Path(), "MANIFEST")
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	writeNotes(t, db, 9<<20)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) { // Badger does not notify
		now, err := os.Stat(name)
		if err != nil || !os.SameFile(before, now) { // it is being rebuilt
			return
		}
		content, _, err := readManifest(db.Path())
		if err != nil {
			continue
		}
		if _, merged, err := mergedIn(content, before.Size()); err == nil && merged {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing was merged")
		}
	}
}

// awaitEnded waits until Badger says that all merges have ended.
func awaitEnded(t *testing.T, db *DB) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		begun, ended := db.merges.count()
		if begun > 0 && begun == ended {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("merges have begun %d tables, and ended with %d", begun, ended)
		}
	}
}

func tableIDs(t *testing.T, db *DB) (ids []uint64) {
	t.Helper()
	_, manifest, err := readManifest(db.Path())
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(manifest.Tables))
}

// writeNotes writes notes of that many bytes, and so fills a memtable with each 8 MB of them.
// What is in one memtable overlaps with the next one, or Badger would merge each for itself.
func writeNotes(t *testing.T, db *DB, size int) {
	t.Helper()
	const length = 10_000
	if err := db.NoteAll(func(set func(key, value []byte) error) error {
		for i := range size / length {
			if err := set(fmt.Appendf(nil, "%s%06d", notePrefix, i*7919%(size/length)), []byte(strings.Repeat("x", length))); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// rewriteManifest replaces a manifest by one that names the same tables and nothing else, as
// Badger does after ten thousand deletions. It returns what undoes that.
func rewriteManifest(t *testing.T, path string) (undo func()) {
	t.Helper()
	name := filepath.Join(path, badger.ManifestFilename)
	content, manifest, err := readManifest(path)
	if err != nil {
		t.Fatal(err)
	}
	var set pb.ManifestChangeSet
	for id, table := range manifest.Tables {
		set.Changes = append(set.Changes, &pb.ManifestChange{Id: id, Op: pb.ManifestChange_CREATE, Level: uint32(table.Level), Compression: uint32(table.Compression)})
	}
	rewritten := append(slices.Clone(content[:8]), manifestEntry(&set)...)
	if err := errors.Join(os.Rename(name, name+".old"), os.WriteFile(name, rewritten, 0o600)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Rename(name+".old", name); err != nil {
			t.Error(err)
		}
	}
}

// manifestEntry returns changes as they are in a manifest.
func manifestEntry(set *pb.ManifestChangeSet) []byte {
	encoded, _ := proto.Marshal(set) // which cannot fail
	entry := binary.BigEndian.AppendUint32(nil, uint32(len(encoded)))
	return append(binary.BigEndian.AppendUint32(entry, crc32.Checksum(encoded, y.CastagnoliCrcTable)), encoded...)
}
