package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// The messages to webhooks are in etcd, outside the data that the gateways replicate: each
// is written in the transaction of the change that it is about, by the gateway that was
// asked, for the receivers that it has. One gateway sends them, and announces what becomes
// due. Which ends of keys have been announced is a record like others, so two gateways that
// announce at the same time do not announce the same thing.

const (
	// clocksDiffer is how much later than it is due something is announced, so that a gateway
	// whose clock is behind does not create a key that ends before what was announced.
	clocksDiffer = 2 * time.Second
	// maxErased is the maximum number of messages that one transaction deletes.
	maxErased = 100
	// forgetInterval is how often messages are looked for whose receivers are not configured.
	forgetInterval = time.Minute
)

// Outbox has the fleet's messages to webhooks. It implements [webhook.Outbox].
type Outbox struct {
	fleet   *Fleet
	backlog *webhook.Backlog // of the gateway that leads
	full    []string         // where there is no room in it
	added   chan struct{}
	turn    chan struct{} // has an element while nothing in this process leads

	failing    failures
	forgotten  time.Time    // when messages were last looked for whose receivers are not configured
	unreadable atomic.Int64 // when it was last logged that a message cannot be read
}

func newOutbox(f *Fleet) *Outbox {
	o := &Outbox{
		fleet: f, backlog: webhook.NewBacklog(webhook.MaxPending, webhook.MaxPendingOfOne),
		added: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
	o.turn <- struct{}{}
	return o
}

// Outbox returns the fleet's messages to webhooks.
func (f *Fleet) Outbox() *Outbox { return f.outbox }

var _ webhook.Outbox = (*Outbox)(nil)

// Added is as [webhook.Outbox] has it.
func (o *Outbox) Added() <-chan struct{} { return o.added }

// Count returns how many messages to a receiver are pending, 0 unless this gateway leads.
func (o *Outbox) Count(receiver string) int { return o.backlog.Count(receiver) }

// Dropped returns how many messages to a receiver this gateway has dropped.
func (o *Outbox) Dropped(receiver string) int { return o.backlog.Dropped(receiver) }

// Workspaces returns the workspaces that pending messages to a receiver are about, none
// unless this gateway leads.
func (o *Outbox) Workspaces(receiver string) []string { return o.backlog.Workspaces(receiver) }

func (o *Outbox) wake() {
	select {
	case o.added <- struct{}{}:
	default:
	}
}

// messagesTo returns the prefix of the names of messages to a receiver about a workspace.
func messagesTo(receiver, workspace string) string {
	return messagePrefix + receiver + "/" + workspace + "/"
}

// messageAt returns the message with a name, without what its value says.
func messageAt(name string) (m webhook.Message, ok bool) {
	rest, ok := strings.CutPrefix(name, messagePrefix)
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || apikey.ValidateWorkspaceID(parts[1]) != nil || !webhook.ValidID(parts[2]) {
		return m, false
	}
	return webhook.Message{Receiver: parts[0], Workspace: parts[1], ID: parts[2]}, true
}

func nameOfMessage(m webhook.Message) string { return messagesTo(m.Receiver, m.Workspace) + m.ID }

// Pending returns the oldest messages to a receiver about a workspace: see
// [webhook.Outbox]. One that no gateway has written is left out.
func (o *Outbox) Pending(ctx context.Context, receiver, workspace, after string, most int) (messages []webhook.Message, err error) {
	e := o.fleet.connection()
	prefix := e.name(messagesTo(receiver, workspace))
	from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
	if after != "" {
		from = prefix + after + "\x00"
	}
	for len(messages) < most {
		read, err := e.read(ctx, clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithLimit(int64(most-len(messages)))))
		if err != nil {
			return nil, err
		}
		found := read.Responses[0].GetResponseRange()
		for _, kv := range found.Kvs {
			m, err := e.openMessage(string(kv.Key), kv.Value)
			if err != nil {
				o.cannotRead(err)
				continue
			}
			messages = append(messages, m)
		}
		if !found.More {
			break
		}
		from = string(found.Kvs[len(found.Kvs)-1].Key) + "\x00"
	}
	return messages, nil
}

// cannotRead logs once a minute why a message is not sent.
func (o *Outbox) cannotRead(why error) {
	now, before := time.Now().Unix(), o.unreadable.Load()
	if now-before >= 60 && o.unreadable.CompareAndSwap(before, now) {
		o.fleet.log.Error("a message to a webhook is not sent, because it cannot be read", zap.Error(why))
	}
}

func (e *etcd) openMessage(name string, sealed []byte) (webhook.Message, error) {
	m, ok := messageAt(strings.TrimPrefix(name, e.prefix))
	if !ok {
		return m, fmt.Errorf("%s is not the name of a message", name)
	}
	value, _, err := e.keys.open(name, sealed)
	if err == nil {
		err = m.Decode(value)
	}
	return m, err
}

// Done removes messages that were delivered or given up: see [webhook.Outbox].
func (o *Outbox) Done(ctx context.Context, messages ...webhook.Message) error {
	e := o.fleet.connection()
	for some := range slices.Chunk(messages, maxErased) {
		deletes := make([]clientv3.Op, len(some))
		for i, m := range some {
			deletes[i] = clientv3.OpDelete(e.name(nameOfMessage(m)))
		}
		_, err := e.write(ctx, nil, deletes, nil)
		for errors.Is(err, errAmbiguous) && ctx.Err() == nil {
			_, err = e.write(ctx, nil, deletes, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Announce writes the messages that have become due: see [webhook.Outbox]. If it keeps
// failing, the gateway leads no longer.
func (o *Outbox) Announce(ctx context.Context, now time.Time) (more bool, err error) {
	o.full = o.backlog.AllFull(o.full)
	more, err = o.fleet.replica.Announce(ctx, now.Add(-clocksDiffer), o.full)
	o.failing.note(err)
	if err == nil && time.Since(o.forgotten) >= forgetInterval {
		o.forgotten = time.Now()
		_, err = o.forget(ctx)
	}
	return more, err
}

// forget deletes the messages to receivers that this gateway does not have, and returns
// their number.
func (o *Outbox) forget(ctx context.Context) (forgotten int, err error) {
	for _, receiver := range o.backlog.Receivers() {
		if o.fleet.replica.Receives(receiver) {
			continue
		}
		n, err := webhook.Forget(ctx, o, receiver)
		if n > 0 {
			o.fleet.log.Warn("deleted messages to a webhook that is not configured on this gateway, which is the one that sends", zap.String("receiver", receiver), zap.Int("messages", n))
		}
		if forgotten += n; err != nil {
			return forgotten, err
		}
	}
	return forgotten, nil
}
