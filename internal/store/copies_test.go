package store

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// copyOf copies the directory of a store. Where the store is open, the copy is
// what a killed process would have left.
func copyOf(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keys")
	err := filepath.WalkDir(dir, func(from string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, from)
		if err != nil {
			return err
		}
		to := filepath.Join(path, name)
		if entry.IsDir() {
			return os.Mkdir(to, 0o700)
		}
		content, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		// What ends in megabytes of zeros takes no room for them.
		if err := os.WriteFile(to, withoutZeros(content), 0o600); err != nil {
			return err
		}
		return os.Truncate(to, int64(len(content)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// withoutZeros returns a file's content without the zeros that it ends in: first
// whole pages of them, of which the race detector takes one look.
func withoutZeros(content []byte) []byte {
	var page [4096]byte
	for bytes.HasSuffix(content, page[:]) {
		content = content[:len(content)-len(page)]
	}
	return bytes.TrimRight(content, "\x00")
}

// keysOf returns a model of all keys in a store.
func keysOf(t *testing.T, s *Store) *model {
	t.Helper()
	m := &model{workspaces: map[string]apikey.Workspace{}}
	err := s.db.View(func(txn *badger.Txn) error {
		return each(txn, recordKey(""), func(item *badger.Item) error {
			key, err := decodeKey(item)
			if err != nil {
				return err
			}
			m.keys = append(m.keys, *key)
			return addUse(txn, &m.keys[len(m.keys)-1])
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := s.SuspendedWorkspaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		m.workspaces[id] = apikey.Workspace{ID: id}
	}
	return m
}

// countsRight holds the census of a store against a plain count, at each of the
// given instants.
func countsRight(t *testing.T, s *Store, instants []time.Time) {
	t.Helper()
	m := keysOf(t, s)
	for _, now := range instants {
		equal(t, "census at "+now.String(), census(t, s, now), m.census(now))
	}
}
