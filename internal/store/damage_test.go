package store

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
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A mishap is something that happens to the files of a store while nobody has it
// open. It reports whether it changed anything.
type mishap struct {
	name string
	do   func(path string, files []string, n int) (bool, error)
}

// mishaps are done to each file of a store, at several places each.
var mishaps = []mishap{
	{"a bit flipped", func(path string, files []string, n int) (bool, error) {
		return change(path, files[0], func(b []byte, r *rand.Rand) []byte {
			b[place(len(b), n, r)] ^= 1 << r.IntN(8)
			return b
		}, n)
	}},
	{"a page zeroed", func(path string, files []string, n int) (bool, error) {
		return change(path, files[0], func(b []byte, r *rand.Rand) []byte {
			at := place(len(b), n, r) &^ 4095
			clear(b[at:min(len(b), at+4096)])
			return b
		}, n)
	}},
	{"the end cut off", func(path string, files []string, n int) (bool, error) {
		return change(path, files[0], func(b []byte, r *rand.Rand) []byte { return b[:place(len(b), n, r)] }, n)
	}},
	{"the last entries cut off", func(path string, files []string, n int) (bool, error) {
		content, err := os.ReadFile(filepath.Join(path, files[0]))
		borders := bordersIn(filepath.Base(files[0]), content)
		if err != nil || n+1 >= len(borders) {
			return false, err
		}
		return true, os.Truncate(filepath.Join(path, files[0]), int64(borders[len(borders)-2-n]))
	}},
	{"removed", func(path string, files []string, n int) (bool, error) {
		return n == 0, os.Remove(filepath.Join(path, files[0]))
	}},
	{"swapped", func(path string, files []string, n int) (bool, error) {
		if n >= len(files) || n == 0 {
			return false, nil
		}
		one, other, aside := filepath.Join(path, files[0]), filepath.Join(path, files[n]), filepath.Join(path, "aside")
		return true, errors.Join(os.Rename(one, aside), os.Rename(other, one), os.Rename(aside, other))
	}},
}

// bordersIn returns where the entries of a file begin that is cut off unseen
// between two of them: Badger's manifest, and a segment of the journal.
func bordersIn(name string, content []byte) (borders []int) {
	at, before, after := len(content), 0, 0
	switch {
	case name == "MANIFEST":
		at, before, after = 8, 8, 0
	case strings.HasSuffix(name, ".journal"):
		at, before, after = 65, 4, 32
	}
	for at < len(content) {
		borders = append(borders, at)
		at += before + int(binary.BigEndian.Uint32(content[at:])) + after
	}
	return append(borders, at)
}

// place is one of several in a file: its beginning, its end, or any.
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

// change changes what a file holds up to the last byte that is not zero: files of
// Badger are longer than what is in them.
func change(path, name string, do func([]byte, *rand.Rand) []byte, n int) (bool, error) {
	full := filepath.Join(path, name)
	before, err := os.ReadFile(full)
	if err != nil {
		return false, err
	}
	used := len(withoutZeros(before))
	if used == 0 {
		return false, nil
	}
	after := do(bytes.Clone(before[:used]), rand.New(rand.NewPCG(uint64(n), uint64(used))))
	if len(after) == used {
		after = append(after, before[used:]...)
	}
	return !bytes.Equal(before, after), os.WriteFile(full, after, 0o600)
}

// acknowledgedIn returns a sum of all that was acknowledged in a store: everything
// but the notes.
func acknowledgedIn(s *Store) (string, error) {
	h := sha256.New()
	err := s.view(func(txn *badger.Txn) error {
		return each(txn, nil, func(item *badger.Item) error {
			if key := string(item.Key()); slices.ContainsFunc(notes, func(note string) bool { return strings.HasPrefix(key, note) }) {
				return nil
			}
			return item.Value(func(value []byte) error {
				fmt.Fprintf(h, "%q %q\n", item.Key(), value)
				return nil
			})
		})
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// notes begin the keys of what is not in the journal.
var notes = []string{"u/", "v/", string(clockKey), string(journaledKey), string(baseKey)}

// say opens a store as another process, and says what is in it or why not.
func say(path string) error {
	s, err := Open(path, zap.NewNop(), nil)
	if err != nil {
		fmt.Println("refused:", err)
		return nil
	}
	sum, err := acknowledgedIn(s)
	fmt.Println("opened:", sum)
	return errors.Join(err, s.Close())
}

// said returns what another process says of a store.
func said(t *testing.T, path string) string {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary)
	cmd.Env = append(os.Environ(), roleVariable+"="+opener, pathVariable+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Sprintf("died: %v\n%s", err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// makeLived makes a store that has lived: keys that were revoked, in tables and
// in Badger's log, and a journal with a snapshot and entries after it. It returns
// where it is as a killed process left it, and as a closed one did.
func makeLived(t *testing.T) (killed, closed, acknowledged string) {
	t.Helper()
	s := openNew(t)
	some := func(n int) {
		for i := range n {
			key := mustCreate(t, s, fmt.Sprint("workspace-", i%3), "Key "+apikey.NewKeyID(start), start)
			if i%2 == 0 {
				mustApply(t, s, start, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
			}
		}
	}
	some(40)
	s = reopen(t, s)
	some(20)
	if err := s.renewJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	some(30)
	if err := s.renewJournal(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "the number of the snapshot", s.journal.Base().Number, uint64(135))
	mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "workspace-1"})
	some(10)
	killed = copyOf(t, s.Path())
	acknowledged, err := acknowledgedIn(s)
	if err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	return killed, s.Path(), acknowledged
}

// fillUp revokes keys, has a snapshot take their place in the journal, and then
// writes until it is killed.
func fillUp(s *Store) error {
	ctx := context.Background()
	for i := range 20 {
		key := newKey("acme", fmt.Sprint("Key ", i), start)
		_, err := s.Apply(ctx, changeAt(start, apikey.Create{Key: key}))
		if _, also := s.Apply(ctx, changeAt(start, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})); errors.Join(err, also) != nil {
			return errors.Join(err, also)
		}
	}
	if err := s.renewJournal(ctx); err != nil {
		return err
	}
	for {
		if err := behind(s, largeKeys); err != nil {
			return err
		}
	}
}

// largeKeys makes some keys that take much room, quickly: no call could make them.
func largeKeys(txn *transaction) error { return addKeys(txn, 10, 4000) }

// lawfulKeys makes keys that a call could have made, and that take as much together.
func lawfulKeys(txn *transaction) error { return addKeys(txn, 100, 80) }

func addKeys(txn *transaction, n, owner int) error {
	for range n {
		key := newKey("acme", "Large", start)
		key.Owner = strings.Repeat("x", owner)
		if err := insert(txn, &key); err != nil {
			return err
		}
	}
	return nil
}

// makeFull makes a store that was killed while Badger had more than one log,
// which is only for as long as it takes to write a table.
func makeFull(t *testing.T) (path, acknowledged string) {
	t.Helper()
	for range 50 {
		s := openNew(t)
		path = s.Path()
		closeStore(t, s)
		p := startProcess(t, filler, path)
		for deadline := time.Now().Add(time.Minute); !hasTwoLogs(path) && time.Now().Before(deadline); runtime.Gosched() {
		}
		p.end()
		if hasTwoLogs(path) {
			sum, ok := strings.CutPrefix(said(t, copyOf(t, path)), "opened: ")
			if !ok {
				t.Fatalf("a killed store: got %q, want it opened", sum)
			}
			return path, sum
		}
	}
	t.Fatal("no store was killed while it had two logs")
	return "", ""
}

// hasTwoLogs reports whether Badger is well into a log before it has written what
// is in the one before into a table.
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
	_, err = opened.ReadAt(some, 128<<10) // after some whole transactions
	return err == nil && len(bytes.TrimRight(some, "\x00")) > 0
}

// Whatever happens to any file of a store: either all that was acknowledged is
// there when it is opened, or it is not opened, and says why.
func TestOpen_damaged(t *testing.T) {
	killed, closed, lived := makeLived(t)
	full, filled := makeFull(t)
	outcomes := make(map[string]int)
	var mu sync.Mutex
	var workers sync.WaitGroup
	slots := make(chan struct{}, 4)
	for _, left := range []struct{ name, path, acknowledged, files string }{
		{"killed", killed, lived, ""}, {"closed", closed, lived, ""}, {"full", full, filled, ".mem"},
	} {
		names := filesIn(t, left.path)
		for i, name := range names {
			if !strings.HasSuffix(name, left.files) {
				continue
			}
			for _, mishap := range mishaps {
				for n := range places {
					path := copyOf(t, left.path)
					others := append([]string{name}, names[i+1:]...)
					changed, err := mishap.do(path, others, n)
					if err != nil {
						t.Fatal(err)
					}
					if !changed {
						continue
					}
					slots <- struct{}{}
					workers.Go(func() {
						defer func() { <-slots }()
						got := said(t, path)
						kind, _, _ := strings.Cut(got, ":")
						title := fmt.Sprintf("%s, %s %s (%d)", left.name, name, mishap.name, n)
						switch {
						case kind == "opened" && got != "opened: "+left.acknowledged:
							t.Errorf("%s: it was opened, and is not what was acknowledged", title)
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
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		t.Logf("%-40s %d", outcome, outcomes[outcome])
	}
}

// filesIn returns the files of a store but for those that hold nothing of it.
func filesIn(t *testing.T, path string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(path, func(file string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(path, file)
		if base := filepath.Base(name); base != "LOCK" && base != "lock" && base != "DISCARD" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
