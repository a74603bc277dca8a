package store

import (
	"errors"
	"slices"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// hooks are the receivers of webhooks, and when they are told that a key ends.
type hooks struct {
	receivers []webhook.Receiver
	// windows are the times before a key's end at which one of them is told; 0 for the end
	// itself.
	windows []time.Duration
}

func newHooks(receivers []webhook.Receiver) *hooks {
	if len(receivers) == 0 {
		return nil
	}
	h := &hooks{receivers: receivers}
	for _, r := range receivers {
		if r.Takes(webhook.KeyExpired) || r.Takes(webhook.KeyRevoked) {
			h.windows = append(h.windows, 0)
		}
		if !r.Takes(webhook.KeyExpiring) {
			continue
		}
		for _, w := range r.Expiring {
			h.windows = append(h.windows, w.Before)
		}
	}
	slices.Sort(h.windows)
	h.windows = slices.Compact(h.windows)
	return h
}

// count returns how many receivers there are. There may be none: h is nil then.
func (h *hooks) count() int {
	if h == nil {
		return 0
	}
	return len(h.receivers)
}

// taking returns the ids of the receivers that take messages of a type.
func (h *hooks) taking(typ webhook.Type) (ids []string) {
	if h == nil {
		return nil
	}
	for i := range h.receivers {
		if h.receivers[i].Takes(typ) {
			ids = append(ids, h.receivers[i].ID)
		}
	}
	return ids
}

// outgoing collects the messages of a transaction. Without receivers it collects none, and
// costs nothing.
type outgoing struct {
	hooks  *hooks
	change uint64                                // the number of the change
	full   func(receiver, workspace string) bool // there is no room for another message
	spare  func() bool                           // the disk has room for more than what ends access

	messages []webhook.Message
	dropped  map[string]int // how many of each receiver were dropped
}

// tell adds a message about a key, as it is at that time, for each receiver that takes its
// type.
func (t *transaction) tell(typ webhook.Type, key *apikey.Key, at time.Time) error {
	return t.tellSome(t.out.hooks.taking(typ), typ, key, "", at, at)
}

// tellSome adds a message about a key, as it is at that time, for some receivers.
func (t *transaction) tellSome(receivers []string, typ webhook.Type, key *apikey.Key, within string, at, written time.Time) error {
	if len(receivers) == 0 {
		return nil
	}
	shown := *key
	if err := addUse(t.Txn, &shown); err != nil {
		return err
	}
	body, err := webhook.About(typ, &shown, within, at)
	t.out.add(receivers, webhook.Message{Workspace: key.WorkspaceID, Subject: key.ID, Type: typ, At: written, Body: body})
	return err
}

// tellOfWorkspace adds a message about a workspace for each receiver that takes its type.
func (t *transaction) tellOfWorkspace(typ webhook.Type, id string, at time.Time) error {
	receivers := t.out.hooks.taking(typ)
	if len(receivers) == 0 {
		return nil
	}
	body, err := webhook.AboutWorkspace(typ, id, at)
	t.out.add(receivers, webhook.Message{Workspace: id, Subject: id, Type: typ, At: at, Body: body})
	return err
}

func (o *outgoing) add(receivers []string, m webhook.Message) {
	noSpace := !o.spare() // what is left is for the changes themselves
	for _, m.Receiver = range receivers {
		if noSpace || o.full(m.Receiver, m.Workspace) {
			if o.dropped == nil {
				o.dropped = make(map[string]int)
			}
			o.dropped[m.Receiver]++
			continue
		}
		m.ID = webhook.NewID(o.change, len(o.messages))
		o.messages = append(o.messages, m)
	}
}

// countOutgoing counts the messages of a transaction that was committed.
func (s *Store) countOutgoing(o *outgoing) {
	s.backlog.Add(o.messages...)
	s.backlog.Drop(o.dropped)
	if len(o.messages) > 0 {
		wake(s.messages)
	}
}

// outgoingAfter returns what collects the messages of a change of a fleet, which is planned
// on a position.
func (s *Store) outgoingAfter(txn reader, on apikey.Position) (outgoing, error) {
	schedule, err := loadSchedule(txn)
	return outgoing{hooks: s.hooks.Load(), change: on.Seq + 1, full: schedule.full, spare: func() bool { return !s.changes.Full() }}, err
}

// records returns the messages as a fleet writes them.
func (o *outgoing) records() (list []apikey.Record, err error) {
	for _, m := range o.messages {
		value, encodeErr := m.Encode()
		err = errors.Join(err, encodeErr)
		list = append(list, apikey.Record{Kind: apikey.RecordMessage, ID: m.Receiver + "/" + m.Workspace + "/" + m.ID, Value: value})
	}
	return list, err
}

// atOnce returns how many keys a transaction may change that tells each receiver of each,
// of which most is the maximum without receivers.
func (o *outgoing) atOnce(most int) int { return max(1, most/(1+o.hooks.count())) }
