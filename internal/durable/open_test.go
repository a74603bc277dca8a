package durable

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

func TestOpen_newDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some", "where", "keys")
	db := open(t, path)
	equal(t, "path", db.Path(), path)
	equal(t, "mode", modeOf(t, path), fs.FileMode(0o700))
	equal(t, "made", db.Made(), true)
}

func TestOpen_closesDirectoryToOthers(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	equal(t, "mode", modeOf(t, path), fs.FileMode(0o700))
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode().Perm()
}

func TestOpen_relativePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	db := open(t, "keys")
	equal(t, "path", db.Path(), filepath.Join(dir, "keys"))
}

func TestOpen_lockedByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	p := testenv.StartChild(t, roleHold, path)
	want := fmt.Sprintf("it is locked by another process (pid %d): stop that process, or choose another path", p.Process.Pid)
	equal(t, "error", openFails(t, path), want)
	if err := Locked(path); err == nil || err.Error() != want {
		t.Errorf("Locked: got %v, want %q", err, want)
	}
	p.End()
	if err := Locked(path); err != nil {
		t.Errorf("Locked: got %v once it is not", err)
	}
	open(t, path)
}

func TestOpen_lockedByThisProcess(t *testing.T) {
	db := openNew(t)
	equal(t, "error", openFails(t, db.Path()), "it is locked by this process, or one in another container: stop that process, or choose another path")
	mustCreate(t, db)
}

// Of many concurrent attempts to open a directory, one succeeds.
func TestOpen_atOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var mu sync.Mutex
	var opened []*DB
	failures := atOnce(20, func(int) error {
		db, err := openAt(path)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, db)
		}
		return err
	})
	equal(t, "databases", len(opened), 1)
	equal(t, "failures", len(failures), 19)
	closeDB(t, opened[0])
}

func TestOpen_fileInPlaceOfDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(file, "keys")
	equal(t, "error", openFails(t, file), "mkdir "+file+": not a directory: the path must be a directory")
	equal(t, "error of a path below it", openFails(t, below), "mkdir "+file+": not a directory: the path must be a directory")
}

// badgerWith makes a Badger database that holds one key.
func badgerWith(t *testing.T, key, value string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "keys")
	db, err := badger.Open(badger.DefaultOptions(path).WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if key == "" {
		return path
	}
	if err := db.Update(func(txn *badger.Txn) error { return txn.Set([]byte(key), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpen_schema(t *testing.T) {
	for _, test := range []struct{ title, key, value, want string }{
		{"somebody else's database", "users/1", "Kim", "it is a Badger database of another program: choose another path"},
		{"a newer schema", "m/schema", "8", "it has schema 8, and this version reads schema 7: use the version that wrote it; to leave that version, take a backup with it, and restore the backup into an empty directory"},
		{"an older schema", "m/schema", "6", "it has schema 6, and this version reads schema 7: use the version that wrote it; to leave that version, take a backup with it, and restore the backup into an empty directory"},
		{"a schema of nothing", "m/schema", "{}", `decoding "m/schema": json: cannot unmarshal object into Go value of type int`},
	} {
		t.Run(test.title, func(t *testing.T) {
			path := badgerWith(t, test.key, test.value)
			for range 2 { // the first attempt must not leave anything behind
				equal(t, "error", openFails(t, path), test.want)
			}
			db, err := badger.Open(badger.DefaultOptions(path).WithLogger(nil))
			if err != nil {
				t.Fatalf("opening the database after that: got error %v, want none", err)
			}
			defer db.Close()
			n := 0
			if err := db.View(func(txn *badger.Txn) error {
				for range (&Txn{badger: txn}).Below(nil) {
					n++
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			equal(t, "keys in it", n, 1)
		})
	}
}

// A crash can come after Badger has created its files and before the schema is
// written.
func TestOpen_afterCrashOfFirstOpen(t *testing.T) {
	t.Run("without a schema", func(t *testing.T) {
		db := open(t, badgerWith(t, "", ""))
		mustCreate(t, db)
	})
	t.Run("an empty directory", func(t *testing.T) { open(t, t.TempDir()) })
	for _, empty := range []string{"DISCARD", "MANIFEST-REWRITE", "REWRITE-KEYREGISTRY", "LOCK"} {
		t.Run(empty+" without contents", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, empty), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			db := open(t, path)
			id := mustCreate(t, db)
			db = reopen(t, db)
			equal(t, "records", statuses(t, db), map[string]string{id: active})
		})
	}
}

// An empty file may be what a crash left just after creating it, or all that is
// left of acknowledged changes. A store without a journal does not guess.
func TestOpen_emptyFile(t *testing.T) {
	for _, empty := range []string{"00009.mem", "000009.vlog"} {
		t.Run(empty, func(t *testing.T) {
			db := openNew(t)
			id := mustCreate(t, db)
			closeDB(t, db)
			file := filepath.Join(db.Path(), empty)
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			db = open(t, db.Path())
			equal(t, "records", statuses(t, db), map[string]string{id: active})
			closeDB(t, db)

			if err := os.RemoveAll(db.journalPath()); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("its file %q is empty: either a crash interrupted its creation, or its contents are lost. "+
				"If the process or the machine stopped just as the file was created, remove the file; otherwise restore a backup into an empty directory", empty)
			for range 2 {
				equal(t, "error", openFails(t, db.Path()), want)
			}
		})
	}
}

// Badger's options: small buffers, and every write synced.
func TestOpen_options(t *testing.T) {
	db := openNew(t)
	got := db.badger.Opts()
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"SyncWrites", got.SyncWrites, true},
		{"NumMemtables", got.NumMemtables, 2},
		{"MemTableSize", got.MemTableSize, int64(8 << 20)},
		{"ValueLogFileSize", got.ValueLogFileSize, int64(16 << 20)},
		{"BlockCacheSize", got.BlockCacheSize, int64(0)},
		{"Compression", got.Compression, options.None},
		{"DetectConflicts", got.DetectConflicts, false},
		{"ReadOnly", got.ReadOnly, false},
		{"InMemory", got.InMemory, false},
		{"BypassLockGuard", got.BypassLockGuard, false},
	} {
		equal(t, test.name, test.got, test.want)
	}
}

// Badger's own messages do not clutter the log.
func TestOpen_logsNothingAtInfo(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	o := testOptions(filepath.Join(t.TempDir(), "keys"))
	o.Log = zap.New(core)
	db, err := openWith(o)
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, db)
	closeDB(t, db)
	for _, entry := range logged.All() {
		t.Errorf("got a log entry %q, want none", entry.Message)
	}
}

// Close waits for a read in progress.
func TestClose_waitsForReads(t *testing.T) {
	db := openNew(t)
	reading, proceed, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- db.View(func(txn *Txn) error {
			close(reading)
			<-proceed
			_, err := txn.Get(schemaKey)
			return err
		})
	}()
	<-reading
	go func() {
		defer close(closed)
		closeDB(t, db)
	}()
	awaitClosing(t, db)
	select {
	case <-closed:
		t.Fatal("Close returned during a read")
	default:
	}
	close(proceed)
	if err := <-done; err != nil {
		t.Errorf("the read: got error %v, want none", err)
	}
	<-closed
}
