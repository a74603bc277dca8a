package durable

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// journalBehind returns the error for a store that has changes the journal lacks.
func (db *DB) journalBehind(stored journal.Position, torn *journal.Damage) error {
	cause := errors.New("the end of its journal is missing")
	if torn != nil {
		cause = torn
	}
	return db.uncertain(cause, db.journal.End().Number+1, stored.Number)
}

// uncertain returns the error for changes that the journal can no longer vouch for.
func (db *DB) uncertain(cause error, from, to uint64) error {
	changes := fmt.Sprintf("change %d", from)
	switch {
	case to == 0:
		changes = fmt.Sprintf("the changes from %d on", from)
	case to > from:
		changes = fmt.Sprintf("the changes from %d to %d", from, to)
	}
	err := fmt.Errorf("%w. So it is uncertain whether the store contains %s, and a revocation may be missing. "+
		"Recover the journal's original files, or %s", cause, changes, db.startOver())
	if db.options.StartOver != "" {
		return err
	}
	return fmt.Errorf("%w. If you are sure that the store is complete, create a new journal from it: caddy api-keys doctor --store %q --new-journal", err, db.path)
}

// startOver returns what to do if changes are lost for good.
func (db *DB) startOver() string {
	return cmp.Or(db.options.StartOver, "restore a backup into an empty directory")
}

// explainJournal adds advice to an error from opening the journal.
func (db *DB) explainJournal(err error) error {
	if errors.Is(err, journal.ErrLocked) {
		return explain(db.path, syscall.EWOULDBLOCK)
	}
	if damage, ok := errors.AsType[*journal.Damage](err); ok {
		if _, files := db.survey(); files != nil && !isTransient(files) {
			return db.bothDamaged(files, damage)
		}
		return db.uncertain(damage, max(damage.Next, 1), 0)
	}
	return Advise(err)
}

// bothDamaged returns the error for files and a journal of which neither can be
// rebuilt from the other.
func (db *DB) bothDamaged(files, journal error) error {
	return fmt.Errorf("its files are damaged (%w), and so is its journal: %w: %s", files, journal, db.startOver())
}

// explain adds advice to an error from opening Badger.
func explain(path string, err error) error {
	if locked(err) {
		return &causedError{fmt.Errorf("it is locked by %s: stop that process, or choose another path", lockHolder(path)), syscall.EWOULDBLOCK}
	}
	return Advise(err)
}

// locked reports whether an error means that another process has the store open.
func locked(err error) bool {
	return errors.Is(err, syscall.EWOULDBLOCK)
}

// lockHolder names the process whose pid is in Badger's lock file. A process in
// another container can have the pid of this one.
func lockHolder(path string) string {
	content, _ := os.ReadFile(filepath.Join(path, "LOCK"))
	switch pid := strings.TrimSpace(string(content)); pid {
	case "":
		return "another process"
	case strconv.Itoa(os.Getpid()):
		return "this process, or one in another container"
	default:
		return fmt.Sprintf("another process (pid %s)", pid)
	}
}
