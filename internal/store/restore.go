package store

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// What bounds the records that one transaction restores, which can hold 1.2 MB
// and some ten thousand writes. If they do not fit, it is split in two. Other changes
// wait for a transaction to end, a revocation too, so it takes milliseconds.
const (
	restoredAtOnce      = 250
	restoredBytesAtOnce = 512 << 10
)

// maxTries bounds how often uses are tried again that met another transaction.
const maxTries = 10

// Restore adds what is in a backup and not in the store. The store knows better:
// what was made, changed or resumed after the backup stays as it is, and a key
// that is revoked in either of them is revoked. With do.Quarantine every
// workspace that gets keys is suspended first.
//
// The backup is read to its end before anything is changed. It must be undamaged,
// signed where [Store.SignWith] wants it, and hold nothing that no call can have
// left behind; if not, Restore fails with [apikey.ErrInvalidBackup]. If it fails
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
	file, err := s.db.Spool()
	if err != nil {
		return done, s.wrapInternal(err)
	}
	defer file.Close()
	if _, err := io.Copy(s.db.WhileSpace(file), from); err != nil {
		if errors.Is(err, durable.ErrNoSpace) {
			return done, apikey.ErrNoSpace
		}
		return done, errDamaged(1, "the backup could not be read to the end")
	}
	r := &restore{store: s, key: s.signingKey(), change: change, done: &done, file: file, admitted: newAdmission(change.At)}
	if do.Quarantine {
		r.owners = make(map[string]bool)
	}
	if err := r.admit(ctx); err != nil {
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
	s.db.SetBulk(true)
	defer s.db.SetBulk(false)
	if _, _, err := r.read(ctx, progress, r.add); err != nil {
		return done, err
	}
	if err := r.flush(ctx); err != nil {
		return done, err
	}
	change.EventID, change.Do = apikey.NewEventID(change.At), apikey.Restore{Quarantine: do.Quarantine, Restored: done}
	_, err = s.Apply(ctx, change)
	return done, err
}

// BackupContents is what a backup has.
type BackupContents struct {
	MadeAt       time.Time
	Signed       bool
	Keys, Events int
}

// CheckBackup reads a backup to its end, and fails as Restore into an empty store
// with that key does at a time.
func CheckBackup(ctx context.Context, key apikey.BackupKey, from io.Reader, now time.Time) (contents BackupContents, err error) {
	admitted := newAdmission(now)
	contents.MadeAt, contents.Signed, err = readBackup(durable.Unpaced(ctx), key, from, func(n int, line *backupLine) error {
		if line.Key != nil {
			contents.Keys++
		}
		if line.Event != nil {
			contents.Events++
		}
		return admitted.line(n, line)
	})
	if err == nil {
		err = admitted.madeAt(contents.MadeAt)
	}
	return contents, err
}

// restore is a restore under way.
type restore struct {
	store    *Store
	key      apikey.BackupKey
	change   apikey.Change
	done     *apikey.Restored
	file     *os.File // the backup
	admitted *admission
	batch    []backupLine
	size     int             // of the batch, in bytes
	owners   map[string]bool // the workspaces of keys that are not revoked; nil where nobody asks
}

func (r *restore) read(ctx context.Context, progress io.Writer, visit func(int, *backupLine) error) (madeAt time.Time, signed bool, err error) {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return time.Time{}, false, r.store.wrapInternal(err)
	}
	return readBackup(r.store.db.Pacer(ctx), r.key, io.TeeReader(r.file, progress), visit)
}

// admit reads the backup, and checks all of it.
func (r *restore) admit(ctx context.Context) error {
	return r.store.view(func(txn *durable.Txn) (err error) {
		defer r.admitted.against(r.store, txn)()
		var signed bool
		r.done.MadeAt, signed, err = r.read(ctx, io.Discard, r.check)
		r.done.Unverified = signed && r.key.IsZero()
		if err == nil {
			err = r.admitted.madeAt(r.done.MadeAt)
		}
		if err == nil {
			r.admitted.sortAfter()
		}
		return err
	})
}

func (r *restore) check(n int, line *backupLine) error {
	if err := r.admitted.line(n, line); err != nil {
		return err
	}
	if key := line.Key; key != nil && key.RevokedAt == 0 && r.owners != nil { // whatever the clock says of its end
		r.owners[key.WorkspaceID] = true
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

// add restores a record with its batch. What reads the records pauses between batches,
// when no other change waits.
func (r *restore) add(_ int, line *backupLine) error {
	r.batch, r.size = append(r.batch, *line), r.size+line.size
	if len(r.batch) < restoredAtOnce && r.size < restoredBytesAtOnce {
		return nil
	}
	return r.flush(context.Background()) // the client may go; what was begun goes on to the end of its batch
}

// flush restores the batch.
func (r *restore) flush(ctx context.Context) error {
	err := r.write(ctx, r.batch)
	r.batch, r.size = r.batch[:0], 0
	return err
}

// write restores records in one transaction, and tells of what has ended by it.
// More than one transaction can hold are restored in two.
func (r *restore) write(ctx context.Context, batch []backupLine) error {
	err := r.tryWrite(ctx, batch)
	if half := len(batch) / 2; errors.Is(err, durable.ErrTooBig) && half > 0 {
		err = r.write(ctx, batch[:half])
		if err == nil {
			err = r.write(ctx, batch[half:])
		}
	}
	return err
}

func (r *restore) tryWrite(ctx context.Context, batch []backupLine) error {
	s := r.store
	m := &merge{mayHave: s.MayHave, now: r.change.At, actor: r.change.Actor, madeAt: r.done.MadeAt}
	return s.inTurn(ctx, "", false, func(turn *durable.Turn) error {
		if err := s.write(turn, r.change.At, func(txn *transaction) error {
			return errors.Join(m.all(txn, *r.done, batch), save(txn, restoringKey, restoring{toMillis(r.done.MadeAt), r.done.WasEmpty}))
		}); err != nil {
			return err
		}
		if err := r.writeUses(turn, batch); err != nil {
			return err
		}
		*r.done = m.done
		if s.onChange != nil {
			for _, outcome := range m.outcomes {
				s.onChange(outcome)
			}
		}
		return nil
	})
}

// writeUses restores uses of keys that the backup has. They are no changes that
// were acknowledged, and are not in the journal.
func (r *restore) writeUses(turn *durable.Turn, batch []backupLine) error {
	err := durable.ErrConflict
	for try := 0; errors.Is(err, durable.ErrConflict) && try < maxTries; try++ { // with a use that is noted
		err = turn.Note(func(txn *durable.Txn) (err error) {
			for i := range batch {
				use := batch[i].Use
				if use == nil {
					continue
				}
				if _, known := r.admitted.find(use.KeyID); known {
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
	if err = load(txn, restoringKey, &r); errors.Is(err, durable.ErrNotFound) {
		return restoring{}, nil
	}
	return r, err
}

// Restoring returns when the backup was made whose restore was begun and has not
// come to its end; the zero time if there is none.
func (s *Store) Restoring() (madeAt time.Time, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := restoringNow(txn)
		madeAt = r.MadeAt.time()
		return err
	})
	return madeAt, err
}

// wasEmpty reports whether the store has no keys but those of a restore that was
// begun when it had none, and did not come to its end.
func (s *Store) wasEmpty() (empty bool, err error) {
	err = s.view(func(txn *durable.Txn) error {
		r, err := restoringNow(txn)
		if err != nil || r.WasEmpty {
			empty = r.WasEmpty
			return err
		}
		for range txn.Below(recordKey("")) {
			return nil
		}
		empty = true
		return nil
	})
	return empty, err
}
