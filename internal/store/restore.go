package store

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// What bounds the records that one transaction restores, which can hold 1.2 MB
// and some ten thousand writes. The event of keys that were revoked together is
// as large as a dozen keys.
const (
	restoredAtOnce      = 200
	restoredBytesAtOnce = 256 << 10
)

// maxTries bounds how often uses are tried again that met another transaction.
const maxTries = 10

// Restore adds what is in a backup and not in the store. The store knows better:
// what was made, changed or resumed after the backup stays as it is, and a key
// that is revoked in either of them is revoked. With do.Quarantine every
// workspace that gets keys is suspended first.
//
// The backup is read to its end and found to be undamaged before anything is
// changed; if not, Restore fails with [apikey.ErrInvalidBackup]. If it fails
// later, some of it has been restored, and to restore it again does the rest.
// The event of a restore is kept when all is done. While it restores, it writes
// what it has read to progress too.
func (s *Store) Restore(ctx context.Context, from io.Reader, change apikey.Change, do apikey.Restore, progress io.Writer) (done apikey.Restored, err error) {
	if s == nil {
		return done, apikey.ErrStoreUnavailable
	}
	if err := s.Ping(); err != nil {
		return done, err
	}
	file, err := s.spool()
	if err != nil {
		return done, s.refine(err)
	}
	defer file.Close()
	if _, err := io.Copy(&spaceWatcher{s, file}, from); err != nil {
		if errors.Is(err, apikey.ErrNoSpace) {
			return done, apikey.ErrNoSpace
		}
		return done, errDamaged(1, "nothing can be said: it could not be read to its end")
	}
	r := &restore{store: s, change: change, done: &done, owners: make(map[string]bool)}
	if done.MadeAt, err = r.read(ctx, file, io.Discard, r.check); err != nil {
		return done, err
	}
	if done.WasEmpty, err = s.wasEmpty(); err != nil {
		return done, err
	}
	if do.Quarantine {
		if err := r.quarantine(ctx); err != nil {
			return done, err
		}
	}
	if _, err := r.read(ctx, file, progress, r.add); err != nil {
		return done, err
	}
	if err := r.flush(ctx); err != nil {
		return done, err
	}
	change.Do = apikey.Restore{Quarantine: do.Quarantine, Restored: done}
	_, err = s.Apply(ctx, change)
	return done, err
}

// BackupContents is what a backup has.
type BackupContents struct {
	MadeAt       time.Time
	Keys, Events int
}

// CheckBackup reads a backup to its end, and fails as Restore does where it is
// damaged.
func CheckBackup(ctx context.Context, from io.Reader) (contents BackupContents, err error) {
	r := &restore{owners: make(map[string]bool)}
	contents.MadeAt, err = readBackup(ctx, from, func(n int, line *backupLine) error {
		if line.Key != nil {
			contents.Keys++
		}
		if line.Event != nil {
			contents.Events++
		}
		return r.check(n, line)
	})
	return contents, err
}

// restore is a restore under way.
type restore struct {
	store  *Store
	change apikey.Change
	done   *apikey.Restored
	batch  []backupLine
	size   int             // of the batch, in bytes
	owners map[string]bool // the workspaces of active keys
}

func (r *restore) read(ctx context.Context, file *os.File, progress io.Writer, visit func(int, *backupLine) error) (time.Time, error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return time.Time{}, r.store.refine(err)
	}
	return readBackup(ctx, io.TeeReader(file, progress), visit)
}

// check refuses a record that could not be read back.
func (r *restore) check(n int, line *backupLine) error {
	switch {
	case line.Key != nil:
		key, err := line.Key.key()
		if err != nil || !apikey.ValidKeyID(key.ID) || key.CreatedAt.IsZero() || key.Family != "" && !apikey.ValidKeyID(key.Family) {
			return errDamaged(n, "the record of a key does not hold together")
		}
		if key.RevokedAt.IsZero() { // whatever the clock says of its end
			r.owners[key.WorkspaceID] = true
		}
	case line.Use != nil:
		if !apikey.ValidKeyID(line.Use.KeyID) || line.Use.Last == 0 {
			return errDamaged(n, "the record of a use does not hold together")
		}
	case line.Suspension != nil:
		if apikey.ValidateWorkspaceID(line.Suspension.WorkspaceID) != nil || line.Suspension.SuspendedAt == 0 {
			return errDamaged(n, "the record of a suspension does not hold together")
		}
	case line.Event != nil:
		if !apikey.ValidEventID(line.Event.ID) {
			return errDamaged(n, "the record of an event does not hold together")
		}
	case line.Feed != nil:
		if apikey.ValidateWorkspaceID(line.Feed.WorkspaceID) != nil || len(line.Feed.Digest) != len(apikey.Digest{}) {
			return errDamaged(n, "the record of a calendar feed does not hold together")
		}
	case line.EndedFeed != nil:
		if len(line.EndedFeed) != len(apikey.Digest{}) {
			return errDamaged(n, "the record of a calendar feed does not hold together")
		}
	default:
		return errDamaged(n, "there is no record that this version knows")
	}
	return nil
}

// quarantine suspends every workspace that will have a key that is not revoked,
// before it has.
func (r *restore) quarantine(ctx context.Context) error {
	reason := "restored from the backup of " + r.done.MadeAt.Format(time.RFC3339) + ", to be reviewed"
	for ws := range r.owners {
		change := r.change
		change.EventID, change.Do = apikey.NewEventID(change.At), apikey.Suspend{WorkspaceID: ws, Reason: reason}
		outcome, err := r.store.Apply(ctx, change)
		if err != nil {
			return err
		}
		if !outcome.Unchanged || outcome.Workspace.Reason == reason { // by this restore, or one that broke off
			r.done.Quarantined++
		}
	}
	return nil
}

func (r *restore) add(_ int, line *backupLine) error {
	r.batch, r.size = append(r.batch, *line), r.size+line.size
	if len(r.batch) < restoredAtOnce && r.size < restoredBytesAtOnce {
		return nil
	}
	return r.flush(context.Background()) // the client may go; what was begun goes on to the end of its batch
}

// flush restores a batch in one transaction, and tells of what has ended by it.
func (r *restore) flush(ctx context.Context) error {
	s := r.store
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return apikey.ErrStoreUnavailable
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	if err := s.mayChange(ctx, false); err != nil {
		return err
	}
	m := &merge{now: r.change.At, madeAt: r.done.MadeAt}
	if err := s.write(r.change.At, func(txn *transaction) error {
		return errors.Join(m.all(txn, *r.done, r.batch), save(txn, restoringKey, restoring{toMillis(r.done.MadeAt), r.done.WasEmpty}))
	}); err != nil {
		return s.refine(err)
	}
	if err := r.flushUses(); err != nil {
		return s.refine(err)
	}
	*r.done, r.batch, r.size = m.done, r.batch[:0], 0
	if s.onChange != nil {
		for _, outcome := range m.outcomes {
			s.onChange(outcome)
		}
	}
	return nil
}

// flushUses restores the uses of a batch. They are no changes that were
// acknowledged, and are not in the journal.
func (r *restore) flushUses() error {
	err := badger.ErrConflict
	for try := 0; errors.Is(err, badger.ErrConflict) && try < maxTries; try++ { // with a use that is noted
		err = r.store.unjournaled(func(txn *transaction) (err error) {
			for i := range r.batch {
				if use := r.batch[i].Use; use != nil {
					err = errors.Join(err, mergeUse(txn, use))
				}
			}
			return err
		})
	}
	return err
}

// restoring is a restore that was begun.
type restoring struct {
	MadeAt   millis `json:"made_at"` // its backup
	WasEmpty bool   `json:"was_empty,omitzero"`
}

func restoringNow(txn reader) (r restoring, err error) {
	if err = load(txn, restoringKey, &r); errors.Is(err, badger.ErrKeyNotFound) {
		return restoring{}, nil
	}
	return r, err
}

// Restoring returns when the backup was made whose restore was begun and has not
// come to its end; the zero time if there is none.
func (s *Store) Restoring() (madeAt time.Time, err error) {
	err = s.view(func(txn *badger.Txn) error {
		r, err := restoringNow(txn)
		madeAt = r.MadeAt.time()
		return err
	})
	return madeAt, err
}

// wasEmpty reports whether the store has no keys but those of a restore that was
// begun when it had none, and did not come to its end.
func (s *Store) wasEmpty() (empty bool, err error) {
	err = s.view(func(txn *badger.Txn) error {
		r, err := restoringNow(txn)
		if err != nil || r.WasEmpty {
			empty = r.WasEmpty
			return err
		}
		it := txn.NewIterator(badger.IteratorOptions{Prefix: []byte("k/")})
		defer it.Close()
		it.Rewind()
		empty = !it.Valid()
		return nil
	})
	return empty, err
}
