package store

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// These limit what one transaction restores: so many keys, or twice as many events, and
// so many bytes of the backup. A transaction can hold 1.2 MB and about ten thousand
// writes; if that is not enough, the records are split in two. All other changes, even
// revocations, wait for a transaction to end, so it should take milliseconds: once one
// waits, the transaction ends after restoredWhileAwaited keys.
const (
	restoredAtOnce       = 500
	restoredWhileAwaited = 250
	restoredBytesAtOnce  = 512 << 10
)

// maxRestoredHeld is how many counts are kept for the next transaction of a restore.
const maxRestoredHeld = 20_000

// Restore adds what is in a backup but not in the store. The store takes precedence:
// what was created, changed or resumed after the backup stays as it is, and a key that
// is revoked in either of them is revoked. With do.Quarantine, every workspace that
// gets keys is suspended first.
//
// The whole backup is read before anything is changed. It must be undamaged, be signed
// if [Store.SignWith] demands it, and contain nothing that API calls cannot have
// created; otherwise Restore fails with [apikey.ErrInvalidBackup]. If it fails later,
// part of the backup has been restored, and restoring it again does the rest. The event
// of the restore is recorded at the end. What is read while records are added is also
// written to progress.
func (s *Store) Restore(ctx context.Context, from io.Reader, change apikey.Change, do apikey.Restore, progress io.Writer) (done apikey.Restored, err error) {
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
			return done, s.wrapInternal(err)
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
	if err := r.begin(ctx); err != nil {
		return done, err
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

// BackupContents describes a backup.
type BackupContents struct {
	MadeAt       time.Time
	Signed       bool
	Keys, Events int
}

// CheckBackup reads a whole backup, and fails if restoring it into an empty store, with
// that key and at that time, would.
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

// restore is a restore in progress.
type restore struct {
	store    *Store
	key      apikey.BackupKey
	change   apikey.Change
	done     *apikey.Restored
	file     *os.File       // the backup
	pacer    *durable.Pacer // of the reader
	admitted *admission     // until everything has been checked
	ids      []ulid.ULID    // of all keys in the backup, in order
	batch    []backupLine
	records  int             // that the batch writes at most
	size     int             // of the batch, in bytes
	owners   map[string]bool // the workspaces of unrevoked keys; nil if they are not needed
}

func (r *restore) read(ctx context.Context, progress io.Writer, visit func(int, *backupLine) error) (madeAt time.Time, signed bool, err error) {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return time.Time{}, false, r.store.wrapInternal(err)
	}
	r.pacer = r.store.db.Pacer(ctx)
	return readBackup(r.pacer, r.key, io.TeeReader(r.file, progress), visit)
}

// admit reads and checks the whole backup.
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
			r.ids, r.admitted = r.admitted.ids(), nil
		}
		return err
	})
}

func (r *restore) check(n int, line *backupLine) error {
	if err := r.admitted.line(n, line); err != nil {
		return err
	}
	if key := line.Key; key != nil && key.RevokedAt == 0 && r.owners != nil { // even if it seems to have expired: the clock may be wrong
		r.owners[key.WorkspaceID] = true
	}
	return nil
}

// quarantine suspends every workspace that is about to get an unrevoked key.
func (r *restore) quarantine(ctx context.Context) error {
	reason := "restored from the backup of " + r.done.MadeAt.Format(time.RFC3339) + ", to be reviewed"
	for ws := range r.owners {
		change := r.change
		change.EventID, change.Do = apikey.NewEventID(change.At), apikey.Suspend{WorkspaceID: ws, Reason: reason}
		outcome, err := r.store.Apply(ctx, change)
		if err != nil {
			return err
		}
		if !outcome.Unchanged || outcome.Workspace.Reason == reason { // by this restore, or an earlier attempt
			r.done.Quarantined++
		}
	}
	return nil
}

// begin records that the restore is in progress.
func (r *restore) begin(ctx context.Context) error {
	return r.store.writeLocally(ctx, r.change.At, func(txn *transaction) error {
		return save(txn, restoringKey, restoring{toMillis(r.done.MadeAt), r.done.WasEmpty})
	})
}

// most returns how many records a line of a backup writes at most.
func (l *backupLine) most() int {
	if l.Event != nil {
		return 1
	}
	return 2 // a key, and the one that it replaces; or a tombstone, and its key
}

// add adds a record to the batch, and restores the batch when it is full. The reader
// pauses between batches, when no other change waits.
func (r *restore) add(_ int, line *backupLine) error {
	r.batch, r.records, r.size = append(r.batch, *line), r.records+line.most(), r.size+line.size
	if r.records < r.store.atOnce(2*restoredAtOnce) && r.size < restoredBytesAtOnce {
		return nil
	}
	return r.flush(context.Background()) // even if the client leaves, a batch is completed
}

// flush restores the batch.
func (r *restore) flush(ctx context.Context) error {
	err := r.write(ctx, r.batch)
	r.batch, r.records, r.size = r.batch[:0], 0, 0
	return err
}

// write restores records in one transaction, or in several if they do not fit, or if other
// changes wait.
func (r *restore) write(ctx context.Context, batch []backupLine) error {
	for len(batch) > 0 {
		n, err := r.tryWrite(ctx, batch)
		if half := len(batch) / 2; errors.Is(err, durable.ErrTooBig) && half > 0 {
			n, err = half, r.write(ctx, batch[:half])
		}
		if err != nil {
			return err
		}
		batch = batch[n:]
	}
	return nil
}

// tryWrite restores records in one transaction, and reports what has ended. It returns how
// many it has restored: not all if another change waits.
func (r *restore) tryWrite(ctx context.Context, batch []backupLine) (n int, err error) {
	s := r.store
	m := &merge{mayHave: s.MayHave, now: r.change.At, actor: r.change.Actor, madeAt: r.done.MadeAt, awaited: s.db.Awaited}
	begun, merging := time.Now(), time.Duration(0)
	defer func() { r.pacer.Waited(time.Since(begun) - merging) }() // for its turn, and for the disk
	err = s.work(ctx, r.change.At, work{do: func(txn *transaction) error {
		defer func(begun time.Time) { merging += time.Since(begun) }(time.Now())
		txn.keeps = maxRestoredHeld
		return m.all(txn, *r.done, batch)
	}, doubted: func() {
		for _, outcome := range m.outcomes {
			s.refuse(outcome)
		}
	}}, func(*durable.Turn) error {
		*r.done = m.done
		if s.onChange != nil {
			for _, outcome := range m.outcomes {
				s.onChange(outcome)
			}
		}
		return nil
	})
	if err == nil {
		err = s.wrapInternal(r.writeUses(batch[:m.merged]))
	}
	return m.merged, err
}

// writeUses restores uses of keys that are in the backup. They are not acknowledged
// changes, and so not in the journal.
func (r *restore) writeUses(batch []backupLine) error {
	if !slices.ContainsFunc(batch, func(line backupLine) bool { return line.Use != nil }) {
		return nil
	}
	s := r.store
	s.noting.Lock()
	defer s.noting.Unlock()
	return s.db.Note(func(txn *durable.Txn) (err error) {
		for i := range batch {
			use := batch[i].Use
			if use == nil {
				continue
			}
			if _, known := slices.BinarySearchFunc(r.ids, idOf(use.KeyID), ulid.ULID.Compare); known {
				err = errors.Join(err, mergeUse(txn, use))
			}
		}
		return err
	})
}
