package durable

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/badger/v4/y"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// unexamined are the tables that a start has opened because they are as the last stop
// left them. Each is examined before anything is answered from it, and all of them one
// after another meanwhile. It is not left to Badger's own verification of the blocks that
// it reads: what Badger finds damaged, it takes for not there, and answers with an older
// version.
//
// Badger must not merge any of them before. It has none to merge when it is opened, and
// new ones must not become too many: see roomToMerge.
type unexamined struct {
	path   string
	levels [][]*unexaminedTable // each by its last key; no two of one level overlap
	// damage is why one must not be used, once that is known.
	damage atomic.Pointer[error]
	// written is how many bytes were written since the start, and room is how many may be.
	written atomic.Int64
	room    int64
	hurry   atomic.Bool   // somebody waits for done
	done    chan struct{} // closed when all have been examined, damage was found, or it is over
	end     func()        // closes done
}

type unexaminedTable struct {
	id       uint64
	last     []byte // key
	mu       sync.Mutex
	examined atomic.Bool
}

func newUnexamined(path string, opened *badger.DB) *unexamined {
	u := &unexamined{path: path, done: make(chan struct{})}
	u.end = sync.OnceFunc(func() { close(u.done) })
	tables := opened.Tables()
	slices.SortStableFunc(tables, func(a, b badger.TableInfo) int { return y.CompareKeys(a.Right, b.Right) })
	sorted := make(map[int][]*unexaminedTable)
	newest := 0
	for _, info := range tables {
		t := &unexaminedTable{id: info.ID, last: y.ParseKey(info.Right)}
		if info.Level == 0 { // where they overlap
			u.levels = append(u.levels, []*unexaminedTable{t})
			newest++
			continue
		}
		sorted[info.Level] = append(sorted[info.Level], t)
	}
	for _, level := range sorted {
		u.levels = append(u.levels, level)
	}
	u.room = int64(newTables-newest) * opened.Opts().MemTableSize / 2
	return u
}

// check examines the tables that are read to find the keys from one to another, both
// inclusive; nil is after all keys. In each level, those are the tables up to the first
// that ends at or after the last key, and as many more as the reader looks ahead.
func (u *unexamined) check(from, to []byte, ahead int) error {
	for _, level := range u.levels {
		more := ahead
		for _, t := range level[sort.Search(len(level), func(i int) bool { return bytes.Compare(level[i].last, from) >= 0 }):] {
			if err := u.examine(t); err != nil {
				return err
			}
			if to != nil && bytes.Compare(t.last, to) >= 0 {
				if more--; more < 0 {
					break
				}
			}
		}
	}
	return nil
}

// examine examines a table, unless it has been.
func (u *unexamined) examine(t *unexaminedTable) error {
	if t.examined.Load() {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.examined.Load() {
		return nil
	}
	if damage := u.damage.Load(); damage != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, *damage)
	}
	_, err := examineTable(table.NewFilename(t.id, u.path))
	if errors.Is(err, fs.ErrNotExist) {
		err = errMerged(t.id)
	}
	switch {
	case err == nil:
		t.examined.Store(true)
		return nil
	case isTransient(err):
		return err
	}
	u.damage.CompareAndSwap(nil, &err)
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

// all examines all tables. What cannot be read now is tried again.
func (u *unexamined) all(ctx context.Context, pacer *Pacer, log *zap.Logger) error {
	for {
		var failed error
		for _, level := range u.levels {
			for _, t := range level {
				if err := u.examine(t); err != nil {
					failed = err
				}
				if damage := u.damage.Load(); damage != nil {
					return *damage
				}
				if err := u.rest(ctx, pacer); err != nil {
					return err
				}
			}
		}
		if failed == nil {
			return nil
		}
		log.Error("a table of the key store cannot be read: what is in it is refused", zap.String("path", u.path), zap.Error(Advise(failed)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryExamination):
		}
	}
}

const retryExamination = 10 * time.Second

func (u *unexamined) rest(ctx context.Context, pacer *Pacer) error {
	if u.hurry.Load() {
		return ctx.Err()
	}
	return pacer.Rest()
}

// inPlace returns an error if a table is damaged, or gone before it was examined.
func (u *unexamined) inPlace(manifest *badger.Manifest) error {
	if damage := u.damage.Load(); damage != nil {
		return *damage
	}
	for _, level := range u.levels {
		for _, t := range level {
			if _, there := manifest.Tables[t.id]; !there && !t.examined.Load() {
				return errMerged(t.id)
			}
		}
	}
	return nil
}

// wrote counts what was written, for roomToMerge.
func (db *DB) wrote(writes ...journal.Write) {
	u := db.unexamined.Load()
	if u == nil {
		return
	}
	for _, w := range writes {
		u.written.Add(int64(len(w.Key) + len(w.Value)))
	}
}

// roomToMerge waits for the end of the examination if so much has been written meanwhile
// that Badger may soon merge tables. Urgent changes are too small to matter.
func (db *DB) roomToMerge(ctx context.Context, urgent bool) error {
	u := db.unexamined.Load()
	if u == nil || urgent || u.written.Load() < u.room {
		return nil
	}
	u.hurry.Store(true)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-u.done:
	}
	if err := db.unusable.why(); err != nil {
		return err
	}
	if db.unexamined.Load() == u { // the examination was stopped
		return ErrClosed
	}
	return nil
}

// mergesDue reports whether Badger has tables to merge.
func mergesDue(opened *badger.DB) bool {
	return slices.ContainsFunc(opened.Levels(), func(level badger.LevelInfo) bool { return level.Score >= 1 })
}

func tableName(id uint64) string { return filepath.Base(table.NewFilename(id, "")) }
