package store

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// reader is the part of a transaction that reads need.
type reader interface {
	Get(key []byte) ([]byte, error)
	Below(prefix []byte) iter.Seq2[[]byte, []byte]
	Between(from, to []byte) iter.Seq2[[]byte, []byte]
	Backwards(prefix, before []byte) iter.Seq2[[]byte, []byte]
}

// setter is the part of a transaction that writing a record needs.
type setter interface{ Set(key, value []byte) error }

// transaction is a transaction that changes keys.
type transaction struct {
	*durable.Txn
	changed []string        // the workspaces whose keys are changed
	added   []apikey.Digest // of keys that are new
	filter  *digestFilter   // of all others, or nil
	issued  []string        // the prefixes of tokens that are new
	clock   *clockRead
	held    held
	keeps   int       // how many counts, at most, for the next one
	after   uint64    // the number of the last change before it; 0 in a plan
	records recordSet // what is written, for the other gateways of a fleet
	out     outgoing  // messages about it
	// replayed says that the records come from the fleet.
	replayed bool
}

// clockRead is the result of clockNote.
type clockRead struct {
	note    apikey.ClockNote
	trusted string
}

// pinClock reads the clock note once, for a transaction that needs it for many records
// and does not write it.
func (t *transaction) pinClock() error {
	note, trusted, err := clockNote(t)
	t.clock = &clockRead{note, trusted}
	return err
}

// inTurn runs do when it has the turn: see [durable.DB.Change].
func (s *Store) inTurn(ctx context.Context, workspaceID string, urgent bool, do func(*durable.Turn) error) error {
	return s.wrapInternal(s.db.Change(ctx, workspaceID, urgent, do))
}

// write makes changes in one transaction: see [durable.Turn.Update].
func (s *Store) write(turn *durable.Turn, at time.Time, do func(*transaction) error) error {
	var txn *transaction
	err := turn.Update(func(t *durable.Txn) error {
		txn = &transaction{Txn: t, after: turn.Revision(), filter: s.filter.Load()}
		txn.held.counts, txn.keeps = s.lastCounts.take(txn.after), maxHeld
		txn.out = outgoing{hooks: s.hooks.Load(), change: turn.Revision() + 1, full: s.backlog.Full, spare: turn.SpareSpace}
		if err := do(txn); err != nil {
			return err
		}
		if err := s.mayWrite(txn); err != nil {
			return err
		}
		if err := errors.Join(txn.writeHeld(), putMessages(txn)); err != nil {
			return err
		}
		t.MadeAt(at)
		// A store that is rebuilt from the journal takes these times as confirmed.
		if confirmed, err := withoutJump(txn, at); err == nil {
			t.MadeAt(confirmed)
		}
		s.addToFilter(turn, txn.added)
		return nil
	})
	if err == nil {
		s.lastCounts.keep(txn.held.counts, turn.Revision(), txn.keeps)
		s.countOutgoing(&txn.out)
		s.versions.advance(txn.changed)
		s.prefixes.Add(txn.issued...)
	}
	return err
}
