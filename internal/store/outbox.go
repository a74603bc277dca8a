package store

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

const messagePrefix = "o/"

// receiverSize is the length of the id of a receiver.
const receiverSize = 16

func messageKey(receiver, ws, id string) []byte { return inWorkspace(messagePrefix+receiver, ws, id) }

// messageAt is the inverse of messageKey.
func messageAt(key []byte) (m webhook.Message, ok bool) {
	rest := key[len(messagePrefix):]
	if len(rest) < receiverSize+1 {
		return m, false
	}
	m.Receiver, rest = string(rest[:receiverSize]), rest[receiverSize:]
	n := 1 + int(rest[0])
	if len(rest) < n {
		return m, false
	}
	m.Workspace, m.ID = string(rest[1:n]), string(rest[n:])
	return m, webhook.ValidID(m.ID)
}

// SetReceivers sets who receives webhooks from now on. Messages to others are deleted by
// [Store.ForgetMessages].
func (s *Store) SetReceivers(receivers []webhook.Receiver) error {
	if err := s.countMessages(); err != nil {
		return s.wrapInternal(err)
	}
	s.hooks.Store(newHooks(receivers))
	return nil
}

// countMessages counts the messages in the store, the first time.
func (s *Store) countMessages() error {
	s.counting.Lock()
	defer s.counting.Unlock()
	if s.counted {
		return nil
	}
	err := s.db.View(func(txn *durable.Txn) error {
		return each(txn, []byte(messagePrefix), func(key, _ []byte) error {
			if m, ok := messageAt(key); ok {
				s.backlog.Add(m)
			}
			return nil
		})
	})
	if err != nil {
		s.backlog.Clear()
		return err
	}
	s.counted = true // from now on, changes count theirs
	wake(s.messages)
	return nil
}

// wake puts an element into a channel with room for one, unless it has one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Outbox has the messages of a store of its own. It implements [webhook.Outbox].
type Outbox struct{ store *Store }

// Outbox returns the messages of the store. Those of a replica are kept by its fleet.
func (s *Store) Outbox() Outbox { return Outbox{s} }

// Lead waits until nobody else sends: see [webhook.Outbox].
func (o Outbox) Lead(ctx context.Context) (context.Context, func(), error) {
	select {
	case <-o.store.sending:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	leading, cancel := context.WithCancel(ctx)
	return leading, sync.OnceFunc(func() {
		cancel()
		o.store.sending <- struct{}{}
	}), nil
}

// Added is as [webhook.Outbox] has it.
func (o Outbox) Added() <-chan struct{} { return o.store.messages }

// Count returns how many messages to a receiver are pending.
func (o Outbox) Count(receiver string) int { return o.store.backlog.Count(receiver) }

// Dropped returns how many messages to a receiver were dropped since the store was opened.
func (o Outbox) Dropped(receiver string) int { return o.store.backlog.Dropped(receiver) }

// Workspaces returns the workspaces that pending messages to a receiver are about.
func (o Outbox) Workspaces(receiver string) []string { return o.store.backlog.Workspaces(receiver) }

// Announce writes the messages that have become due: see [Store.Announce].
func (o Outbox) Announce(ctx context.Context, now time.Time) (more bool, err error) {
	return o.store.Announce(ctx, now, nil)
}

// Pending returns the oldest messages to a receiver about a workspace: see
// [webhook.Outbox].
func (o Outbox) Pending(ctx context.Context, receiver, workspace, after string, most int) (messages []webhook.Message, err error) {
	err = o.store.view(func(txn *durable.Txn) error {
		messages, err = o.store.pending(ctx, txn, receiver, workspace, after, most)
		return err
	})
	return messages, err
}

func (s *Store) pending(ctx context.Context, txn reader, receiver, workspace, after string, most int) (messages []webhook.Message, err error) {
	start := max(after, s.backlog.From(receiver, workspace))
	prefix := messageKey(receiver, workspace, "")
	from, to := messageKey(receiver, workspace, start), append(bytes.Clone(prefix), 0xff)
	err = eachFrom(ctx, txn, from, to, func(key, value []byte) error {
		m, ok := messageAt(key)
		if !ok || m.ID == after {
			return nil
		}
		if err := m.Decode(bytes.Clone(value)); err != nil {
			return err
		}
		if messages = append(messages, m); len(messages) == most {
			return errFull
		}
		return nil
	})
	if errors.Is(err, errFull) {
		err = nil
	}
	if err == nil && after == "" && len(messages) > 0 {
		s.backlog.Advance(receiver, workspace, messages[0].ID)
	}
	return messages, err
}

// Done removes messages that were delivered or given up: see [webhook.Outbox].
func (o Outbox) Done(ctx context.Context, messages ...webhook.Message) error {
	for some := range slices.Chunk(messages, maxDone) {
		if err := o.store.eraseMessages(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// maxDone is the maximum number of messages that one transaction removes.
const maxDone = 1000

// eraseMessages removes messages in one transaction, which may use the reserved disk space:
// it makes room.
func (s *Store) eraseMessages(ctx context.Context, messages []webhook.Message) error {
	return s.inTurn(ctx, "", true, func(turn *durable.Turn) error {
		var there []webhook.Message
		err := s.write(turn, time.Now(), func(txn *transaction) error {
			for _, m := range messages {
				switch _, err := txn.Get(messageKey(m.Receiver, m.Workspace, m.ID)); {
				case errors.Is(err, durable.ErrNotFound):
					continue
				case err != nil:
					return err
				}
				there = append(there, m)
				if err := eraseMessage(txn, m); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			s.backlog.Remove(there...)
		}
		return err
	})
}

// ForgetMessages deletes messages whose receivers are no longer configured, and those of a
// store that has become a replica, and returns their number.
func (s *Store) ForgetMessages(ctx context.Context) (forgotten int, err error) {
	if !s.replica && s.hooks.Load() == nil {
		if _, err := s.Announce(ctx, time.Now(), nil); err != nil { // a receiver configured later starts over
			return 0, err
		}
	}
	for _, receiver := range s.backlog.Receivers() {
		if s.Receives(receiver) && !s.replica {
			continue
		}
		n, err := webhook.Forget(ctx, s.Outbox(), receiver)
		if forgotten += n; err != nil {
			return forgotten, err
		}
	}
	return forgotten, nil
}

// Receives reports whether a receiver is configured.
func (s *Store) Receives(receiver string) bool {
	h := s.hooks.Load()
	return h != nil && slices.ContainsFunc(h.receivers, func(r webhook.Receiver) bool { return r.ID == receiver })
}

var _ webhook.Outbox = Outbox{}
