package durable

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

// generations are the files of one database as they were at several instants, and
// what was acknowledged at the last.
type generations struct {
	files        []image
	acknowledged map[string]string // the status of each record
}

// grow makes a database that has been through all that changes which files it has,
// and keeps them again and again, as a kill would leave them or a stop.
func grow(t *testing.T, random *rand.Rand, steps int) *generations {
	t.Helper()
	g := &generations{}
	db := openNew(t)
	var alive []string
	for step := range steps {
		for range 1 + random.IntN(3) {
			alive = append(alive, mustCreate(t, db))
		}
		if step > 0 {
			i := random.IntN(len(alive))
			mustRevoke(t, db, alive[i])
			alive = slices.Delete(alive, i, i+1)
		}
		switch random.IntN(5) {
		case 0, 1:
			db = reopen(t, db)
		case 2:
			snapshot(t, db)
		case 3:
			db = rebuilt(t, db)
		case 4: // nothing but the changes
		}
		g.files = append(g.files, imageOf(t, db.Path()))
	}
	g.acknowledged = statuses(t, db)
	closeDB(t, db)
	g.files = append(g.files, imageOf(t, db.Path()))
	return g
}

// mix returns a store with files of any generation among those of the last, and
// says which they are.
func (g *generations) mix(t *testing.T, random *rand.Rand, mixed func(name string) bool) (path string, exchanged []string) {
	t.Helper()
	files := maps.Clone(g.files[len(g.files)-1-random.IntN(2)]) // killed, or stopped
	all := make(image)
	for _, generation := range g.files {
		maps.Copy(all, generation)
	}
	share := []float64{0.1, 0.3, 0.6}[random.IntN(3)]
	one := random.IntN(len(g.files)) // more than one file of it is likely to go together
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !mixed(name) || random.Float64() > share {
			continue
		}
		if random.IntN(3) == 0 {
			one = random.IntN(len(g.files))
		}
		exchanged = append(exchanged, fmt.Sprintf("%s of %d", name, one))
		if content, ok := g.files[one][name]; ok {
			files[name] = content
		} else {
			delete(files, name)
		}
	}
	return files.write(t), exchanged
}

// TestOpen_mixtures: with any mixture of files from different instants, a
// database that opens has all that was acknowledged. While the journal is whole, it
// does open.
func TestOpen_mixtures(t *testing.T) {
	const mixtures = 40
	isJournal := func(name string) bool { return strings.HasPrefix(name, journalDirectory+"/") }
	for _, of := range []struct {
		name  string
		mixed func(string) bool
		least int // how many open
	}{
		{"Badger's files", func(name string) bool { return !isJournal(name) && !strings.HasPrefix(name, damagedDirectory) }, mixtures},
		{"the journal's files", isJournal, mixtures / 4}, // about half of them do
	} {
		t.Run(of.name, func(t *testing.T) {
			seed := rand.Uint64()
			random := rand.New(rand.NewPCG(seed, 0))
			g := grow(t, random, 8)
			opened := 0
			for range mixtures {
				path, exchanged := g.mix(t, random, of.mixed)
				db, err := openAt(path)
				if err != nil {
					t.Logf("with %q exchanged: %v", exchanged, err)
					continue
				}
				opened++
				if got := statuses(t, db); !maps.Equal(got, g.acknowledged) {
					t.Errorf("seed %d: with %q exchanged, it was opened with %v after the repairs %v, want %v", seed, exchanged, got, db.Repairs(), g.acknowledged)
				}
				closeDB(t, db)
				if err := os.RemoveAll(path); err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("%d mixtures of %d were opened", opened, mixtures)
			if opened < of.least {
				t.Errorf("seed %d: %d mixtures were opened, want at least %d", seed, opened, of.least)
			}
		})
	}
}
