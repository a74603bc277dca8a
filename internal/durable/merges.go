package durable

import (
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/pb"
)

// Badger takes a merge of tables for complete even if it could not create one of the new
// tables. It removes the old ones all the same, and reports no error: what was in that table
// is gone, and an older version of a record may be read instead. So the tables that merges
// begin to make are counted, as Badger's debug log has them, and those that they have made,
// as its manifest names them.

// merges counts the tables that merges have made since Badger was opened.
type merges struct {
	mu         sync.Mutex
	begun      int         // without those of merges that have failed as a whole
	inProgress map[int]int // those of begun whose merge has not ended, by compactor
	// opened is the size that the manifest had then, and manifest is the file.
	opened   int64
	manifest os.FileInfo
	excused  int // tables that are not named, although their merge has ended, and not missed
}

func newMerges(path string) *merges {
	m := &merges{inProgress: make(map[int]int)}
	if info, err := os.Stat(filepath.Join(path, badger.ManifestFilename)); err == nil {
		m.manifest, m.opened = info, info.Size()
	}
	return m
}

// The formats of what Badger logs about its merges. The first argument is the compactor.
const (
	beganTable  = "[%d] LOG Compact. Added %d keys. Skipped %d keys. Iteration took: %v"
	mergeEnded  = "[Compactor: %d] Compaction for level: %d DONE"
	mergeFailed = "[Compactor: %d] LOG Compact FAILED with error: %+v: %+v"
)

// note takes note of a message of Badger's.
func (m *merges) note(format string, args []any) {
	switch format {
	case beganTable, mergeEnded, mergeFailed:
	default:
		return
	}
	compactor, _ := args[0].(int)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch format {
	case beganTable:
		if keys, _ := args[1].(uint64); keys > 0 { // without, there is no table
			m.begun++
			m.inProgress[compactor]++
		}
	case mergeFailed:
		m.begun -= m.inProgress[compactor]
		delete(m.inProgress, compactor)
	case mergeEnded:
		delete(m.inProgress, compactor)
	}
}

// count returns how many tables merges have begun, and how many of those belong to a merge
// that has ended.
func (m *merges) count() (begun, ended int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ended = m.begun
	for _, n := range m.inProgress {
		ended -= n
	}
	return m.begun, ended
}

// mergesLog is Badger's log. It passes on what merges report.
type mergesLog struct {
	badgerLogger
	to *merges
}

func (l mergesLog) Warningf(format string, args ...any) {
	l.to.note(format, args)
	l.badgerLogger.Warningf(format, args...)
}

func (l mergesLog) Debugf(format string, args ...any) { l.to.note(format, args) }

// mergedIn returns how many tables merges have made according to the entries of a manifest
// from an offset on, and whether there was any merge.
func mergedIn(manifest []byte, from int64) (made int, merged bool, err error) {
	err = eachChangeSet(manifest, func(at int64, changes []*pb.ManifestChange) {
		removes := func(c *pb.ManifestChange) bool { return c.Op == pb.ManifestChange_DELETE }
		if at < from || !slices.ContainsFunc(changes, removes) { // a new table, from a memtable
			return
		}
		merged = true
		for _, c := range changes {
			if !removes(c) {
				made++
			}
		}
	})
	return made, merged, err
}

// mergesState is what is known of the merges so far.
type mergesState int

const (
	// mergesComplete means that no table is missing that a merge has begun.
	mergesComplete mergesState = iota
	// mergesOpen means that merges are in progress, and that no other is known to be incomplete.
	mergesOpen
	// mergesDoubtful means that a table may be missing.
	mergesDoubtful
)

// mergesLook is what was found out about the merges at one moment.
type mergesLook struct {
	state    mergesState
	content  []byte      // of the manifest
	manifest os.FileInfo // its file
	replaced bool        // it is another file than before: Badger has rewritten it
	new      bool        // it names merges that have not been proven complete before
	ended    int         // how many tables belong to merges that had ended
	off      int         // by how much the manifest's number is too low, or too high if negative
	settled  bool        // no merge was in progress
}

// look finds out whether the merges so far are complete. Those that the manifest names before
// the offset proven are.
func (m *merges) look(path string, proven int64) (l mergesLook, err error) {
	_, l.ended = m.count() // before the manifest is read, which then names their tables
	if l.manifest, l.content, _, err = manifestFile(path); err != nil {
		return l, err
	}
	if l.replaced = m.manifest != nil && !os.SameFile(m.manifest, l.manifest); l.replaced { // then it names no merge
		l.state, l.new = mergesDoubtful, true
		return l, nil
	}
	_, before, err := mergedIn(l.content[:min(m.opened, int64(len(l.content)))], proven)
	if err != nil {
		return l, err
	}
	made, _, err := mergedIn(l.content, m.opened)
	if err != nil {
		return l, err
	}
	if _, l.new, err = mergedIn(l.content, proven); err != nil {
		return l, err
	}
	begun, _ := m.count() // afterwards: what is named had begun
	made += m.excused
	l.settled = begun == l.ended
	switch {
	case made < l.ended:
		l.state, l.off = mergesDoubtful, l.ended-made
	case made > begun:
		l.state, l.off = mergesDoubtful, begun-made
	case before:
		l.state = mergesDoubtful
	case made < begun:
		l.state = mergesOpen
	default:
		l.state = mergesComplete
	}
	return l, nil
}

// excuse takes note that nothing is missing of what a look has found doubtful. It returns up
// to where in the manifest the merges are complete.
func (m *merges) excuse(l *mergesLook) (proven int64) {
	if l.replaced {
		m.manifest, m.opened, m.excused = l.manifest, int64(len(l.content)), l.ended
	} else {
		m.excused += l.off
	}
	if l.settled {
		return int64(len(l.content))
	}
	return m.opened // what the others make may have come after the comparison
}
