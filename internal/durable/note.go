package durable

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.uber.org/zap"
)

// A stop notes which files it leaves. If they are still the same at the next start, that
// need not read all tables before it can answer: see unexamined. The note is good for one
// start, which takes it before it writes anything. After a crash there is none.

// The files of the note are in the journal's directory.
const (
	// stoppedFile is the note.
	stoppedFile = "STOPPED"
	// unexaminedFile is the note that a start has taken, until all tables that it names
	// have been examined.
	unexaminedFile = "UNEXAMINED"
	// keptFile is what the owner keeps from one start to the next.
	keptFile = "KEPT"
)

// defaultNoteFrom is the size of the tables from which a stop is noted. Fewer are read in
// a tenth of a second.
const defaultNoteFrom = 256 << 20

// stopNote is what a stop has left.
type stopNote struct {
	Tables map[uint64]uint64 // checksums of the tables' indexes, by ID
	Files  map[string]stamp  // by name, below the directory
	Kept   *uint32           `json:",omitempty"` // checksum of what is kept
}

// stamp is by what a file is recognised as unchanged.
type stamp struct {
	Size              int64
	Inode             uint64
	Modified, Changed int64 // in Unix nanoseconds
}

// noteStop notes that Badger has been closed. A stop that cannot be noted is one like a
// crash.
func (db *DB) noteStop() {
	if err := db.tryNoteStop(); err != nil {
		db.log.Warn("could not record that the key store was stopped cleanly: its next start takes longer", zap.String("path", db.path), zap.Error(err))
	}
}

func (db *DB) tryNoteStop() error {
	_, manifest, err := wholeManifest(db.path)
	if err != nil {
		return err
	}
	if u := db.unexamined.Load(); u != nil {
		if err := u.inPlace(&manifest); err != nil {
			return err
		}
	}
	if len(manifest.Levels[0].Tables) >= newTables { // which the next start would merge
		return nil
	}
	tables, err := examineEnds(db.path, &manifest)
	if err != nil {
		return err
	}
	kept, err := db.writeKept()
	if err != nil {
		return err
	}
	files, known, err := stampsIn(db.path)
	if err != nil || !known {
		return err
	}
	content, err := json.Marshal(stopNote{tables, files, kept})
	if err != nil {
		return err
	}
	if err := writeSynced(db.inJournal(stoppedFile), content); err != nil {
		return err
	}
	return db.forgetUnexamined()
}

func (db *DB) inJournal(name string) string { return filepath.Join(db.journalPath(), name) }

// writeSynced writes a file, which has its name only once it is on disk.
func writeSynced(name string, content []byte) error {
	const unfinished = ".tmp" // the journal removes it
	file, err := os.OpenFile(name+unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return errors.Join(os.Rename(name+unfinished, name), syncDirectory(filepath.Dir(name)))
}

// stampsIn returns the stamps of all files in a store's directory that a start neither
// creates nor changes by itself.
func stampsIn(path string) (stamps map[string]stamp, known bool, err error) {
	stamps = make(map[string]stamp)
	for _, directory := range []string{".", journalDirectory} {
		entries, err := os.ReadDir(filepath.Join(path, directory))
		if err != nil {
			return nil, false, err
		}
		for _, entry := range entries {
			name := filepath.Join(directory, entry.Name())
			switch {
			case entry.IsDir() && name != straysDirectory, name == "LOCK":
				continue
			case directory == journalDirectory && slices.Contains([]string{"lock", stoppedFile, unexaminedFile}, entry.Name()):
				continue
			}
			info, err := entry.Info()
			if err != nil {
				return nil, false, err
			}
			if stamps[name], known = stampOf(info); !known {
				return nil, false, nil
			}
		}
	}
	return stamps, true, nil
}

// worthNoting reports whether the tables are so large that the next start should not wait
// until all are read.
func (db *DB) worthNoting() bool {
	from := db.options.NoteFrom
	if from == 0 {
		from = defaultNoteFrom
	}
	size := db.Size()
	return int64(size.Tables+size.Log) >= from // closing makes a table of the log
}

// takeNote returns the note of the last stop, if the files are those that it left. Nobody
// can take it again.
func (db *DB) takeNote() (*stopNote, error) {
	content, err := os.ReadFile(db.inJournal(stoppedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var note stopNote
	if json.Unmarshal(content, &note) == nil && db.unchangedSince(&note) {
		return &note, errors.Join(os.Rename(db.inJournal(stoppedFile), db.inJournal(unexaminedFile)), syncDirectory(db.journalPath()))
	}
	return nil, errors.Join(os.Remove(db.inJournal(stoppedFile)), syncDirectory(db.journalPath()))
}

func (db *DB) unchangedSince(note *stopNote) bool {
	if _, err := os.Stat(db.inJournal(unexaminedFile)); err == nil || db.rebuilding() {
		return false
	}
	files, known, err := stampsIn(db.path)
	return err == nil && known && maps.Equal(files, note.Files)
}

func errMerged(table uint64) error {
	return fmt.Errorf("the table %q is gone, and had not been examined", tableName(table))
}

// unexaminedGone returns an error if a table is gone that a start has never examined: what
// was made from it must not be trusted.
func (db *DB) unexaminedGone(files *fileSurvey) error {
	content, err := os.ReadFile(db.inJournal(unexaminedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var note stopNote
	if err := json.Unmarshal(content, &note); err != nil {
		return fmt.Errorf("the note of the last stop is damaged: %w", err)
	}
	for id := range note.Tables {
		if _, there := files.tables[id]; !there {
			return errMerged(id)
		}
	}
	return nil
}

// forgetUnexamined notes that all tables have been examined.
func (db *DB) forgetUnexamined() error {
	err := os.Remove(db.inJournal(unexaminedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, syncDirectory(db.journalPath()))
}

// settleFor bounds how long a stop waits for Badger to merge tables.
const settleFor = 5 * time.Second

// settle waits until Badger has no tables to merge, which the next start would merge
// before it has examined them, and reports whether the stop can be noted: also the merges
// must be proven.
func (db *DB) settle() bool {
	if !db.worthNoting() || db.unusable.why() != nil || db.failed.why() != nil { // what it has written may be incomplete
		return false
	}
	// Closing adds a table.
	if db.unexamined.Load() == nil && db.badger.Levels()[0].NumTables >= newTables-1 && db.flush() != nil {
		return false
	}
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) { // Badger does not notify
		if !mergesDue(db.badger) {
			if db.prove(context.Background(), settleFor, db.readUnfailed) != nil {
				return false
			}
			if !db.merged() { // since then
				return db.recordProof(db.note) == nil
			}
		}
		if time.Since(begun) > settleFor {
			return false
		}
	}
}
