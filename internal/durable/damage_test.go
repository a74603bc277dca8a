package durable

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// A mishap damages the first of the named files of a store that nobody has open. It
// reports whether it changed anything.
type mishap struct {
	name string
	do   func(files image, names []string, n int) bool
}

// mishaps are applied to each file of a store, at several places.
var mishaps = []mishap{
	{"a bit flipped", func(files image, names []string, n int) bool {
		return mutate(files, names[0], func(b []byte, r *rand.Rand) []byte {
			b[place(len(b), n, r)] ^= 1 << r.IntN(8)
			return b
		}, n)
	}},
	{"a page zeroed", func(files image, names []string, n int) bool {
		return mutate(files, names[0], func(b []byte, r *rand.Rand) []byte {
			at := place(len(b), n, r) &^ 4095
			clear(b[at:min(len(b), at+4096)])
			return b
		}, n)
	}},
	{"truncated", func(files image, names []string, n int) bool {
		return mutate(files, names[0], func(b []byte, r *rand.Rand) []byte { return b[:place(len(b), n, r)] }, n)
	}},
	{"whole entries cut off", func(files image, names []string, n int) bool {
		whole := files[names[0]].whole()
		boundaries := boundariesIn(filepath.Base(names[0]), whole)
		if n+1 >= len(boundaries) {
			return false
		}
		files[names[0]] = contentOf(whole[:boundaries[len(boundaries)-2-n]])
		return true
	}},
	{"removed", func(files image, names []string, n int) bool {
		delete(files, names[0])
		return n == 0
	}},
	{"swapped", func(files image, names []string, n int) bool {
		if n >= len(names) || n == 0 {
			return false
		}
		files[names[0]], files[names[n]] = files[names[n]], files[names[0]]
		return true
	}},
}

// boundariesIn returns where the entries of a file begin, if truncating it there
// cannot be noticed from the file alone: Badger's manifest, or a segment of the
// journal.
func boundariesIn(name string, content []byte) (boundaries []int) {
	at, before, after := len(content), 0, 0
	switch {
	case name == "MANIFEST":
		at, before, after = 8, 8, 0
	case strings.HasSuffix(name, ".journal"):
		at, before, after = 65, 4, 32
	}
	for at < len(content) {
		boundaries = append(boundaries, at)
		at += before + int(binary.BigEndian.Uint32(content[at:])) + after
	}
	return append(boundaries, at)
}

// place returns the n-th place to damage in a file: its start, end or middle, or a
// random one.
func place(size, n int, r *rand.Rand) int {
	switch n {
	case 0:
		return 0
	case 1:
		return size - 1
	case 2:
		return size / 2
	}
	return r.IntN(size)
}

// mutate changes a file up to its last byte that is not zero: Badger's files are
// longer than their contents.
func mutate(files image, name string, do func([]byte, *rand.Rand) []byte, n int) bool {
	before := files[name]
	used := len(before.data)
	if used == 0 {
		return false
	}
	after := content{do(bytes.Clone(before.data), rand.New(rand.NewPCG(uint64(n), uint64(used)))), before.size}
	if len(after.data) < used {
		after.size = len(after.data)
	}
	files[name] = after
	return after.size != before.size || !bytes.Equal(before.data, after.data)
}

// acknowledgedIn hashes everything in a database that was acknowledged, which is
// all but the notes.
func acknowledgedIn(db *DB) (string, error) {
	h := sha256.New()
	err := db.View(func(txn *Txn) error {
		for key, value := range txn.Below(nil) {
			if string(key) == string(schemaKey) || !db.isNote(key) {
				fmt.Fprintln(h, len(key), len(value))
				h.Write(key)
				h.Write(value)
			}
		}
		return nil
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// makePopulated makes a database with revoked records both in tables and in
// Badger's log, and with a snapshot and later entries in its journal. It returns its
// files as a kill leaves them, and as Close does.
func makePopulated(t *testing.T) (killed, closed image, acknowledged string) {
	t.Helper()
	db := openNew(t)
	some := func(n int) {
		for i := range n {
			id := mustCreate(t, db)
			if i%2 == 0 {
				mustRevoke(t, db, id)
			}
		}
	}
	some(40)
	db = reopen(t, db)
	some(20)
	snapshot(t, db)
	db = reopen(t, db)
	some(30)
	snapshot(t, db)
	equal(t, "position of the snapshot", db.journal.Base().Number, uint64(135))
	mustChange(t, db, manyRecords)
	some(10)
	killed = imageOf(t, db.Path())
	acknowledged, err := acknowledgedIn(db)
	if err != nil {
		t.Fatal(err)
	}
	closeDB(t, db)
	return killed, imageOf(t, db.Path()), acknowledged
}

// fillUp revokes records, makes a snapshot, and then writes until it is killed.
func fillUp(db *DB) error {
	for range 20 {
		id := newID()
		if err := errors.Join(change(db, start, record(id, active)), change(db, start, record(id, revoked))); err != nil {
			return err
		}
	}
	if err := db.Snapshot(context.Background()); err != nil {
		return err
	}
	for {
		if err := change(db, start, manyRecords); err != nil {
			return err
		}
	}
}

// makeFull makes a store that was killed while Badger had two logs, which it has
// only while it writes a table.
func makeFull(t *testing.T) (files image, acknowledged string) {
	t.Helper()
	for range 50 {
		db := openNew(t)
		path := db.Path()
		closeDB(t, db)
		p := testenv.StartChild(t, roleFill, path)
		for deadline := time.Now().Add(time.Minute); !hasTwoLogs(path) && time.Now().Before(deadline); runtime.Gosched() {
		}
		p.End()
		if hasTwoLogs(path) {
			files = imageOf(t, path)
			sum, ok := strings.CutPrefix(reportOf(t, files.write(t)), "opened: ")
			if !ok {
				t.Fatalf("a killed database: got %q, want it opened", sum)
			}
			return files, sum
		}
	}
	t.Fatal("no store was killed while it had two logs")
	return nil, ""
}

// hasTwoLogs reports whether Badger has filled part of a second log before flushing
// the first.
func hasTwoLogs(path string) bool {
	logs, _ := filepath.Glob(filepath.Join(path, "*.mem"))
	if len(logs) != 2 {
		return false
	}
	opened, err := os.Open(logs[1])
	if err != nil {
		return false
	}
	defer opened.Close()
	some := make([]byte, 64)
	_, err = opened.ReadAt(some, 128<<10) // after several transactions
	return err == nil && len(bytes.TrimRight(some, "\x00")) > 0
}

// After any damage to any file, the store either opens with everything that was
// acknowledged, or refuses to open.
func TestOpen_damaged(t *testing.T) {
	killed, closed, lived := makePopulated(t)
	full, filled := makeFull(t)
	outcomes := make(map[string]int)
	var mu sync.Mutex
	var workers sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, left := range []struct {
		name         string
		files        image
		acknowledged string
		damaged      string // the ending of the names of files to damage
	}{
		{"killed", killed, lived, ""}, {"closed", closed, lived, ""}, {"full", full, filled, ".mem"},
	} {
		names := left.files.names()
		for i, name := range names {
			if !strings.HasSuffix(name, left.damaged) {
				continue
			}
			for _, mishap := range mishaps {
				for n := range places {
					files := maps.Clone(left.files)
					if !mishap.do(files, names[i:], n) {
						continue
					}
					path := files.write(t)
					slots <- struct{}{}
					workers.Go(func() {
						defer func() { <-slots }()
						got := reportOf(t, path)
						kind, _, _ := strings.Cut(got, ":")
						title := fmt.Sprintf("%s, %s %s (%d)", left.name, name, mishap.name, n)
						switch {
						case kind == "opened" && got != "opened: "+left.acknowledged:
							t.Errorf("%s: it was opened without what was acknowledged", title)
						case kind != "opened" && kind != "refused":
							t.Errorf("%s: %.2000s", title, got)
						}
						mu.Lock()
						outcomes[mishap.name+", "+filepath.Ext(name)+" "+kind]++
						mu.Unlock()
						_ = os.RemoveAll(path)
					})
				}
			}
		}
	}
	workers.Wait()
	opened, all := 0, 0
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%-40s %d", outcome, outcomes[outcome])
		if all += outcomes[outcome]; strings.HasSuffix(outcome, " opened") {
			opened += outcomes[outcome]
		}
	}
	if opened < all/2 {
		t.Errorf("%d of %d were opened, want at least half, because most damage can be repaired", opened, all)
	}
}
