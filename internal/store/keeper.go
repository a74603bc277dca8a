package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/durable/journal"
)

// minJournal is how many bytes of changes the journal has at least before a
// snapshot takes their place: they are read, and compared, at every start. In a
// large store it is a part of the snapshot, which takes as long as the store is
// large.
const (
	minJournal  = 16 << 20
	journalPart = 8
	// minMergedJournal is minJournal while a backup is restored.
	minMergedJournal = 64 << 20
)

// keeper does what takes as long as the store is large, beside the store's own
// work: one thing at a time, it reads which keys there are, and makes snapshots
// for the journal.
type keeper struct {
	due     chan struct{} // a snapshot is
	crowded chan struct{} // what knows the keys is to be made anew
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

func startKeeper(s *Store) *keeper {
	ctx, cancel := context.WithCancel(context.Background())
	k := &keeper{due: make(chan struct{}, 1), crowded: make(chan struct{}, 1), cancel: cancel}
	k.done.Go(func() {
		s.learn(ctx)
		if !s.snapshotWhole(ctx) {
			k.ask()
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-k.crowded:
				s.learn(ctx)
				continue
			case <-k.due:
			}
			switch err := s.renewJournal(ctx); {
			case errors.Is(err, errUnsettled): // Badger does not say when it has written a table
				time.AfterFunc(time.Second, k.ask)
			case err != nil && ctx.Err() == nil:
				s.log.Error("making a snapshot for the journal of the key store", zap.String("path", s.path), zap.Error(err))
			}
		}
	})
	return k
}

// snapshotWhole reads the snapshot, which nothing else does until it is needed.
// Where it is damaged, nothing is lost yet.
func (s *Store) snapshotWhole(ctx context.Context) bool {
	err := s.readSnapshot(ctx)
	if err == nil || ctx.Err() != nil {
		return true
	}
	s.log.Error("the snapshot of the journal of the key store is damaged: it is made again", zap.String("path", s.path), zap.Error(err))
	return false
}

// stop ends the snapshot under way, if any: the journal goes on without it.
func (k *keeper) stop() {
	k.cancel()
	k.done.Wait()
}

// ask has a snapshot made as soon as none is under way.
func (k *keeper) ask() { ask(k.due) }

// ask asks once for what is asked again and again until it is done.
func ask(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// grown is told after every change, by whoever holds changes.
func (s *Store) grown() {
	least, part := int64(minJournal), int64(journalPart)
	if s.merging { // as much as is there is still to come: not at every eighth of the way
		least, part = minMergedJournal, 1
	}
	if size := s.journal.Size(); s.keeper != nil && size >= least && size >= s.journal.SnapshotSize()/part {
		s.keeper.ask()
	}
}

func (s *Store) readSnapshot(ctx context.Context) error {
	s.changes.Lock()
	snapshot, err := s.journal.OpenSnapshot()
	s.changes.Unlock()
	if err != nil {
		return err
	}
	defer snapshot.Close()
	pacer := s.pacer(ctx)
	return snapshot.Read(func([]byte, []byte) error { return pacer.step() })
}

// errUnsettled says that Badger has more than one log: a snapshot is only begun
// when all that it makes superfluous is in tables, or in the one log before the
// mark of the snapshot.
var errUnsettled = errors.New("a table of Badger is being written")

// renewJournal has a snapshot take the place of the journal's entries so far.
// Changes go on meanwhile.
func (s *Store) renewJournal(ctx context.Context) error {
	s.renewing.Lock()
	defer s.renewing.Unlock()
	s.changes.Lock()
	txn, w, err := s.beginSettled(s.journal, time.Second)
	s.changes.Unlock()
	if err != nil {
		return err
	}
	defer txn.Discard()
	// What is read must not be worse than the journal that it takes the place of.
	err = s.db.VerifyChecksum()
	if err == nil {
		err = writeSnapshot(s.pacer(ctx), txn, w)
	}
	if err != nil {
		return errors.Join(err, w.Discard())
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	return w.Commit()
}

// beginSettled begins a snapshot once Badger has written its tables. No change is
// made meanwhile, so that takes the time of one table.
func (s *Store) beginSettled(of *journal.Journal, patience time.Duration) (*badger.Txn, *journal.SnapshotWriter, error) {
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) { // Badger does not say when
		txn, w, err := s.beginSnapshot(of)
		if !errors.Is(err, errUnsettled) || time.Since(begun) > patience {
			return txn, w, err
		}
	}
}

// snapshot makes one for a journal that nobody else writes to, of a store that
// nobody else uses.
func (s *Store) snapshot(to *journal.Journal) error {
	txn, w, err := s.beginSettled(to, 10*time.Second)
	if err != nil {
		return err
	}
	defer txn.Discard()
	if err := writeSnapshot(unpaced(context.Background()), txn, w); err != nil {
		return errors.Join(err, w.Discard())
	}
	return w.Commit()
}

// beginSnapshot returns a snapshot to be written, and the transaction that has
// what it is of.
func (s *Store) beginSnapshot(of *journal.Journal) (*badger.Txn, *journal.SnapshotWriter, error) {
	if err := s.spareSpace(); err != nil {
		return nil, nil, err
	}
	before, err := filesWith(s.path, ".mem")
	if err != nil || len(before) != 1 {
		return nil, nil, errors.Join(errUnsettled, err)
	}
	// Before it was that one log, everything was in tables.
	files, err := footprintOf(s.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, errUnsettled
	}
	if err != nil {
		return nil, nil, err
	}
	if err := s.unjournaled(func(txn *transaction) error {
		before, err := loadBase(txn)
		return errors.Join(err, save(txn, baseKey, baseRecord{of.End().Number, files, before.Since}))
	}); err != nil {
		return nil, nil, err
	}
	after, err := filesWith(s.path, ".mem")
	if err != nil || len(after) != 1 || after[0] != before[0] {
		return nil, nil, errors.Join(errUnsettled, err)
	}
	w, err := of.Snapshot(func(to io.Writer) io.Writer { return &spaceWatcher{s, to} })
	if err != nil {
		return nil, nil, err
	}
	return s.db.NewTransaction(false), w, nil
}

// writeSnapshot writes all that is in the store, but for what it has of the
// journal itself.
func writeSnapshot(pacer *pacer, txn *badger.Txn, w *journal.SnapshotWriter) error {
	it := txn.NewIterator(badger.IteratorOptions{})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := pacer.step(); err != nil {
			return err
		}
		item := it.Item()
		if bytes.Equal(item.Key(), journaledKey) || bytes.Equal(item.Key(), baseKey) {
			continue
		}
		if err := item.Value(func(value []byte) error { return w.Write(item.Key(), value) }); err != nil {
			return err
		}
	}
	return w.Finish()
}
