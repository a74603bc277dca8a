package durable

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/doctor"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// start is the time of changes, unless a test says otherwise.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// notePrefix is the prefix of the keys of notes.
const notePrefix = "note/"

// TestMain also serves as the second process that some tests need: see child.
func TestMain(m *testing.M) {
	if role, path := testenv.ChildRole(); role != "" {
		os.Exit(child(role, path))
	}
	os.Exit(m.Run())
}

func testOptions(path string) Options {
	return Options{Path: path, Schema: 7, Notes: []string{notePrefix}, Log: zap.NewNop()}
}

// openAt opens a database with its upkeep, as its owner does.
func openAt(path string) (*DB, error) { return openWith(testOptions(path)) }

func openWith(o Options) (*DB, error) {
	db, err := Open(o)
	if err == nil {
		db.StartUpkeep(func(context.Context) {})
	}
	return db, err
}

// open opens a database and closes it when the test ends.
func open(t testing.TB, path string) *DB {
	t.Helper()
	db, err := openAt(path)
	if err != nil {
		t.Fatalf("Open: got error %v, want a database", err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	return db
}

// openNew opens a database in a directory of its own.
func openNew(t testing.TB) *DB {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "keys"))
}

// reopen closes a database and opens it again.
func reopen(t testing.TB, db *DB) *DB {
	t.Helper()
	closeDB(t, db)
	return open(t, db.Path())
}

func closeDB(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Close(); err != nil {
		t.Errorf("Close: got error %v, want none", err)
	}
}

// openFails returns the message of the error that opening a database must fail
// with.
func openFails(t *testing.T, path string) string {
	t.Helper()
	db, err := openAt(path)
	if err == nil {
		closeDB(t, db)
		t.Fatal("Open: got a database, want an error")
	}
	return err.Error()
}

// The tests' records are active, and may be revoked later. Each change to a record
// also adds an event.
const (
	active  = "active"
	revoked = "revoked"
)

// change makes a change with the given time.
func change(db *DB, at time.Time, do func(*Txn) error) error {
	return db.Change(context.Background(), "", false, func(turn *Turn) error {
		return turn.Update(func(txn *Txn) error {
			txn.MadeAt(at)
			return do(txn)
		})
	})
}

func mustChange(t testing.TB, db *DB, do func(*Txn) error) {
	t.Helper()
	if err := change(db, start, do); err != nil {
		t.Fatalf("a change: got error %v, want none", err)
	}
}

var lastID atomic.Int64

func newID() string { return fmt.Sprintf("%08d", lastID.Add(1)) }

func record(id, status string) func(*Txn) error { return longRecord(id, status, 300) }

// longRecord makes or changes a record, with that many spaces after its status.
func longRecord(id, status string, spaces int) func(*Txn) error {
	return func(txn *Txn) error {
		return errors.Join(
			txn.Set([]byte("k/"+id), []byte(status+strings.Repeat(" ", spaces))),
			txn.Set([]byte("a/"+id+status), []byte("an event")),
		)
	}
}

// mustCreate makes a record and returns its id.
func mustCreate(t testing.TB, db *DB) (id string) {
	t.Helper()
	id = newID()
	mustChange(t, db, record(id, active))
	return id
}

func mustRevoke(t testing.TB, db *DB, id string) {
	t.Helper()
	mustChange(t, db, record(id, revoked))
}

// statuses returns the status of each record by its ID.
func statuses(t testing.TB, db *DB) map[string]string {
	t.Helper()
	found := make(map[string]string)
	if err := db.View(func(txn *Txn) error {
		for key, value := range txn.Below([]byte("k/")) {
			found[string(key[len("k/"):])] = strings.TrimSpace(string(value))
		}
		return nil
	}); err != nil {
		t.Fatalf("reading the database: %v", err)
	}
	return found
}

// mustNote writes a note.
func mustNote(t testing.TB, db *DB, name, value string) {
	t.Helper()
	if err := db.Note(func(txn *Txn) error { return txn.Set([]byte(notePrefix+name), []byte(value)) }); err != nil {
		t.Fatal(err)
	}
}

// populatedDB returns a database with active and revoked records, and a note.
func populatedDB(t testing.TB) *DB {
	t.Helper()
	db := openNew(t)
	mustCreate(t, db)
	for range 3 {
		mustRevoke(t, db, mustCreate(t, db))
	}
	mustNote(t, db, "last", "12:00")
	return db
}

// snapshot makes a snapshot of the journal.
func snapshot(t testing.TB, db *DB) {
	t.Helper()
	if err := db.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// findings returns all findings of checking an open database.
func findings(t testing.TB, db *DB) []doctor.Finding {
	t.Helper()
	changes, _ := db.CheckChanges()
	return append(append(db.CheckSurroundings(), changes), contents(t, db)...)
}

func contents(t testing.TB, db *DB) []doctor.Finding {
	t.Helper()
	found, err := checkContents(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func checkContents(ctx context.Context, db *DB) ([]doctor.Finding, error) {
	journal, err := db.CheckJournal(ctx)
	tables, tablesErr := db.CheckTables(ctx)
	return []doctor.Finding{journal, tables}, errors.Join(err, tablesErr)
}

// wrong returns the findings that are not fine, by check.
func wrong(found []doctor.Finding) map[string]string {
	wrong := make(map[string]string)
	for _, f := range found {
		if f.Severity != doctor.Fine {
			wrong[f.Check] += string(f.Severity) + ": " + f.Message
		}
	}
	return wrong
}

// check returns what a check finds wrong.
func check(t testing.TB, db *DB) map[string]string {
	t.Helper()
	return wrong(findings(t, db))
}

// repairsOf returns the repairs made to open a database.
func repairsOf(db *DB) string {
	var all []string
	for _, r := range db.Repairs() {
		all = append(all, string(r.Kind))
	}
	return strings.Join(all, "\n")
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

// revokedAmong counts the revoked records.
func revokedAmong(all map[string]string) (n int) {
	for status := range maps.Values(all) {
		if status == revoked {
			n++
		}
	}
	return n
}

// atOnce calls do concurrently, and returns the errors.
func atOnce(n int, do func(i int) error) (failures []error) {
	begin, done := make(chan struct{}), make(chan error, n)
	for i := range n {
		go func() {
			<-begin
			done <- do(i)
		}()
	}
	close(begin)
	for range n {
		if err := <-done; err != nil {
			failures = append(failures, err)
		}
	}
	return slices.Clip(failures)
}
