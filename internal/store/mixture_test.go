package store

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// generations are the files of one store as they were at several instants, and
// what was acknowledged at the last.
type generations struct {
	paths   []string
	revoked map[string]bool // by the id of a key
}

// grow makes a store that has been through all that changes which files it has,
// and copies them again and again, as a kill would leave them or a stop.
func grow(t *testing.T, random *rand.Rand, steps int) *generations {
	t.Helper()
	g := &generations{revoked: make(map[string]bool)}
	s := openNew(t)
	var alive []apikey.Key
	for step := range steps {
		for n := range 1 + random.IntN(3) {
			key := mustCreate(t, s, "acme", fmt.Sprintf("Key %d %d", step, n), start)
			alive, g.revoked[key.ID] = append(alive, key), false
		}
		if step > 0 {
			i := random.IntN(len(alive))
			mustRevoke(t, s, alive[i], start)
			g.revoked[alive[i].ID] = true
			alive = slices.Delete(alive, i, i+1)
		}
		switch random.IntN(5) {
		case 0, 1:
			s = reopen(t, s)
		case 2:
			renew(t, s)
		case 3:
			s = builtAnew(t, s)
		case 4: // nothing but the changes
		}
		g.paths = append(g.paths, copyOf(t, s.Path()))
	}
	closeStore(t, s)
	g.paths = append(g.paths, copyOf(t, s.Path()))
	return g
}

// mix returns a store with files of any generation among those of the last, and
// says which they are.
func (g *generations) mix(t *testing.T, random *rand.Rand, mixed func(name string) bool) (path string, exchanged []string) {
	t.Helper()
	last := g.paths[len(g.paths)-1-random.IntN(2)] // killed, or stopped
	path = copyOf(t, last)
	names := make(map[string]bool)
	for _, generation := range g.paths {
		if err := fs.WalkDir(os.DirFS(generation), ".", func(name string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() && mixed(name) {
				names[name] = true
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	share := []float64{0.1, 0.3, 0.6}[random.IntN(3)]
	one := random.IntN(len(g.paths)) // more than one file of it is likely to go together
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		if random.Float64() > share {
			continue
		}
		if random.IntN(3) == 0 {
			one = random.IntN(len(g.paths))
		}
		exchanged = append(exchanged, fmt.Sprintf("%s of %d", name, one))
		content, err := os.ReadFile(filepath.Join(g.paths[one], name))
		if os.IsNotExist(err) {
			err = os.RemoveAll(filepath.Join(path, name))
		} else if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(path, name)), 0o700)
			if err == nil {
				err = os.WriteFile(filepath.Join(path, name), content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return path, exchanged
}

// TestOpen_mixtures: whatever files of which instant lie beside one another, a
// store that opens has all that was acknowledged.
func TestOpen_mixtures(t *testing.T) {
	isJournal := func(name string) bool { return strings.HasPrefix(name, journalDirectory+"/") }
	for _, of := range []struct {
		name  string
		mixed func(string) bool
	}{
		{"Badger's files", func(name string) bool { return !isJournal(name) && !strings.HasPrefix(name, damagedDirectory) }},
		{"the journal's files", isJournal},
	} {
		t.Run(of.name, func(t *testing.T) {
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			g := grow(t, random, 8)
			opened, refused := 0, 0
			for range 40 {
				path, exchanged := g.mix(t, random, of.mixed)
				s, err := Open(path, zap.NewNop(), nil)
				if err != nil {
					refused++
					continue
				}
				opened++
				if !g.has(t, s) {
					t.Errorf("seed %d: with %q exchanged, the store was opened", seed, exchanged)
				}
				closeStore(t, s)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d mixtures were opened, and %d refused", opened, refused)
		})
	}
}

// has reports whether a store has all that was acknowledged.
func (g *generations) has(t *testing.T, s *Store) bool {
	t.Helper()
	found := keysByID(t, s)
	for id, revoked := range g.revoked {
		if key, ok := found[id]; !ok || revoked == key.RevokedAt.IsZero() {
			t.Errorf("%s: got %+v, want one that is revoked: %v", id, key, revoked)
			return false
		}
	}
	return len(found) == len(g.revoked)
}
