package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// openFails opens what must not open, and returns what the error says after the
// beginning that all have.
func openFails(t *testing.T, path string) string {
	t.Helper()
	s, err := Open(path, zap.NewNop(), nil)
	if err == nil {
		closeStore(t, s)
		t.Fatal("Open: got a store, want an error")
	}
	beginning := fmt.Sprintf("opening key store at %q: ", path)
	reason, ok := strings.CutPrefix(err.Error(), beginning)
	if !ok {
		t.Fatalf("Open: got error %q, want it to begin with %q", err, beginning)
	}
	return reason
}

func TestOpen_newDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some", "where", "keys")
	s := open(t, path, nil)
	equal(t, "path", s.Path(), path)
	equal(t, "mode", modeOf(t, path), fs.FileMode(0o700))
	if err := s.Ping(); err != nil {
		t.Errorf("Ping: got error %v, want none", err)
	}
}

func TestOpen_closesDirectoryToOthers(t *testing.T) {
	path := t.TempDir()
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
	open(t, path, nil)
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
	s := open(t, "keys", nil)
	equal(t, "path", s.Path(), filepath.Join(dir, "keys"))
}

// All that was kept is there after closing and opening again.
func TestOpen_again(t *testing.T) {
	s := openNew(t)
	live := mustCreate(t, s, "acme", "Live", start)
	revoked := mustRevoke(t, s, mustCreate(t, s, "acme", "Revoked", start), start).Key
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "other", Reason: "unpaid"})
	trail := allEvents(t, s, "")

	s = reopen(t, s)
	equal(t, "live key", lookup(t, s, live.Digest), live)
	equal(t, "revoked key", lookup(t, s, revoked.Digest), revoked)
	equal(t, "names", list(t, s, "acme", apikey.KeyFilter{}, 5, start), []string{"Revoked", "Live"})
	equal(t, "counts", counts(t, s, "acme", start), [3]int{1, 0, 1})
	equal(t, "suspended", suspended(t, s, "other"), true)
	equal(t, "events", allEvents(t, s, ""), trail)
	refused(t, s, start, apikey.Create{Key: newKey("acme", "live", start)}, apikey.ErrNameTaken)
}

func TestOpen_lockedByAnotherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	p := startProcess(t, holder, path)
	want := fmt.Sprintf("it is locked by another process (pid %d): stop that one, or give this one another path", p.Process.Pid)
	equal(t, "error", openFails(t, path), want)
	p.end()
	open(t, path, nil)
}

func TestOpen_lockedByThisProcess(t *testing.T) {
	s := openNew(t)
	equal(t, "error", openFails(t, s.Path()), "it is locked by this process, or by one in another container: stop that one, or give this one another path")
	mustCreate(t, s, "acme", "Zapier", start)
}

// Of many who open one directory at once, one gets it.
func TestOpen_atOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	var mu sync.Mutex
	var opened []*Store
	failures := atOnce(20, func(int) error {
		s, err := Open(path, zap.NewNop(), nil)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, s)
		}
		return err
	})
	equal(t, "stores", len(opened), 1)
	equal(t, "failures", len(failures), 19)
	closeStore(t, opened[0])
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
		{"somebody else's database", "users/1", "Kim", "it is a Badger database of something else: choose another path"},
		{"a newer schema", "m/schema", "5", "it has schema 5, and this version knows schema 4: use the version that wrote it, or a newer one"},
		{"a schema that was never released", "m/schema", "3", "it has schema 3, of a version from before the first release, and this version reads schema 4: take a backup with that version, and restore it into an empty directory"},
		{"a schema of nothing", "m/schema", "{}", `decoding "m/schema": json: cannot unmarshal object into Go value of type int`},
	} {
		t.Run(test.title, func(t *testing.T) {
			path := badgerWith(t, test.key, test.value)
			for range 2 { // the first attempt must not have left anything behind
				equal(t, "error", openFails(t, path), test.want)
			}
			db, err := badger.Open(badger.DefaultOptions(path).WithLogger(nil))
			if err != nil {
				t.Fatalf("opening the database after that: got error %v, want none", err)
			}
			defer db.Close()
			n := 0
			if err := db.View(func(txn *badger.Txn) error {
				return each(txn, nil, func(*badger.Item) error { n++; return nil })
			}); err != nil {
				t.Fatal(err)
			}
			equal(t, "keys in it", n, 1)
		})
	}
}

// A process can end after Badger has made its files, before the schema is written.
func TestOpen_afterCrashOfFirstOpen(t *testing.T) {
	t.Run("without a schema", func(t *testing.T) {
		s := open(t, badgerWith(t, "", ""), nil)
		mustCreate(t, s, "acme", "Zapier", start)
	})
	t.Run("an empty directory", func(t *testing.T) { open(t, t.TempDir(), nil) })
	for _, empty := range []string{"DISCARD", "MANIFEST-REWRITE", "REWRITE-KEYREGISTRY", "LOCK"} {
		t.Run(empty+" without contents", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, empty), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, path, nil)
			key := mustCreate(t, s, "acme", "Zapier", start)
			s = reopen(t, s)
			equal(t, "key", lookup(t, s, key.Digest), key)
		})
	}
}

// An empty file may be what a crash left in the moment that it was made, or all
// that is left of acknowledged changes. A store without a journal does not guess
// which.
func TestOpen_emptyFile(t *testing.T) {
	for _, empty := range []string{"00009.mem", "000009.vlog"} {
		t.Run(empty, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			closeStore(t, s)
			file := filepath.Join(s.Path(), empty)
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, s.Path(), nil)
			equal(t, "key", lookup(t, s, key.Digest), key)
			closeStore(t, s)

			if err := os.RemoveAll(s.journalPath()); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("its file %q is empty: a crash has left it so in the moment that it was made, or what it held is lost. "+
				"Remove the file if the process was killed, or the machine stopped, at that moment; restore a backup if not", empty)
			for range 2 {
				equal(t, "error", openFails(t, s.Path()), want)
			}
		})
	}
}

// The options that a store is opened with: small, and every write synced.
func TestOpen_options(t *testing.T) {
	s := openNew(t)
	got := s.db.Opts()
	for _, test := range []struct {
		name      string
		got, want any
	}{
		{"SyncWrites", got.SyncWrites, true},
		{"NumMemtables", got.NumMemtables, 2},
		{"MemTableSize", got.MemTableSize, int64(8 << 20)},
		{"ValueLogFileSize", got.ValueLogFileSize, int64(16 << 20)},
		{"BlockCacheSize", got.BlockCacheSize, int64(8 << 20)},
		{"Compression", got.Compression, options.None},
		{"DetectConflicts", got.DetectConflicts, true},
		{"ReadOnly", got.ReadOnly, false},
		{"InMemory", got.InMemory, false},
		{"BypassLockGuard", got.BypassLockGuard, false},
	} {
		equal(t, test.name, test.got, test.want)
	}
}

// Badger's chatter is not the operator's.
func TestOpen_logsNothingAtInfo(t *testing.T) {
	core, logged := observer.New(zapcore.InfoLevel)
	s, err := Open(filepath.Join(t.TempDir(), "keys"), zap.New(core), nil)
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, "acme", "Zapier", start)
	closeStore(t, s)
	for _, entry := range logged.All() {
		t.Errorf("got a log entry %q, want none", entry.Message)
	}
}

func TestClose_twice(t *testing.T) {
	s := openNew(t)
	closeStore(t, s)
	closeStore(t, s)
	everyCall(t.Context(), s, func(call string, err error) { isUnavailable(t, call, err) })
}

func TestStore_nil(t *testing.T) {
	var s *Store
	everyCall(t.Context(), s, func(call string, err error) { isUnavailable(t, call, err) })
	closeStore(t, s)
	equal(t, "path", s.Path(), "")
}

// Closing waits for what is under way, and refuses what comes later: nothing
// panics, and what was acknowledged is there.
func TestClose_whileInUse(t *testing.T) {
	for round := range 5 {
		s := openNew(t)
		var (
			wg           sync.WaitGroup
			mu           sync.Mutex
			acknowledged []apikey.Key
			busy         = make(chan struct{}, 1000)
		)
		for worker := range 16 {
			wg.Go(func() {
				for closed := false; !closed; {
					busy <- struct{}{}
					name := fmt.Sprintf("Key %d %s", worker, apikey.NewKeyID(start))
					outcome, err := s.Apply(t.Context(), changeAt(start, apikey.Create{Key: newKey("kept", name, start)}))
					if err == nil {
						mu.Lock()
						acknowledged = append(acknowledged, outcome.Key)
						mu.Unlock()
					}
					everyCall(t.Context(), s, func(call string, err error) {
						if errors.Is(err, apikey.ErrStoreUnavailable) {
							closed = true
						} else if _, refusal := errors.AsType[*apikey.Error](err); closed || err != nil && !refusal {
							t.Errorf("%s: got error %v after ErrStoreUnavailable: %t", call, err, closed)
						}
					})
				}
			})
		}
		for range 16 + round*10 {
			<-busy
		}
		closeStore(t, s)
		go func() {
			for range busy { // let the workers go on, to see that it is closed
			}
		}()
		wg.Wait()
		close(busy)
		s = open(t, s.Path(), nil)
		for _, key := range acknowledged {
			equal(t, "key", lookup(t, s, key.Digest), key)
		}
	}
}

// A read that is under way holds Close up.
func TestClose_waitsForReads(t *testing.T) {
	s := openNew(t)
	reading, proceed, closed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- s.view(func(txn *badger.Txn) error {
			close(reading)
			<-proceed
			_, err := txn.Get(schemaKey)
			return err
		})
	}()
	<-reading
	go func() {
		defer close(closed)
		closeStore(t, s)
	}()
	// Close is known to wait when no further read is let in.
	for deadline := time.Now().Add(10 * time.Second); s.gate.TryRLock(); runtime.Gosched() {
		s.gate.RUnlock()
		if time.Now().After(deadline) {
			t.Fatal("Close does not wait for the read under way")
		}
	}
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
