package durable

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDropPages: what the upkeep has read of the tables does not stay in the memory of the
// process, and can be read again.
func TestDropPages(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	db, err := Open(testOptions(path))
	if err != nil {
		t.Fatal(err)
	}
	const records = 1000
	mustChange(t, db, func(txn *Txn) error {
		for i := range records {
			if err := txn.Set(fmt.Appendf(nil, "key-%d", i), []byte(strings.Repeat("x", 500))); err != nil {
				return err
			}
		}
		return nil
	})
	closeDB(t, db)

	if db, err = Open(testOptions(path)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeDB(t, db) })
	readAll := func() {
		t.Helper()
		if err := db.View(func(txn *Txn) error {
			read := 0
			for range txn.Below([]byte("key-")) {
				read++
			}
			if read != records {
				t.Errorf("got %d records, want %d", read, records)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
	}
	if readAll(); residentTables(t, path) < 500*records {
		t.Fatalf("got %d bytes of tables in memory after all were read, want all", residentTables(t, path))
	}
	db.StartUpkeep(func(context.Context) { readAll() })
	for deadline := time.Now().Add(time.Minute); residentTables(t, path) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %d bytes of tables in memory after the upkeep, want none", residentTables(t, path))
		}
	}
	readAll()
}

// residentTables returns how many bytes of a database's tables are in the memory of this
// process.
func residentTables(t *testing.T, path string) (resident int) {
	t.Helper()
	mappings, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	ofTable := false
	for line := range strings.Lines(string(mappings)) {
		var from, to, kilobytes int
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 { // the first line about a mapping
			ofTable = strings.Contains(line, path) && strings.HasSuffix(line, ".sst\n")
		}
		if n, _ := fmt.Sscanf(line, "Rss: %d kB", &kilobytes); n == 1 && ofTable {
			resident += kilobytes << 10
		}
	}
	return resident
}
