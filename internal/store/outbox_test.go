package store

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/webhook"
	"github.com/agiled/caddy-api-keys/internal/webhook/outboxtest"
)

// oneGateway is a gateway with a store of its own.
type oneGateway struct{ store *Store }

func (g *oneGateway) Open(t testing.TB) outboxtest.Box {
	t.Helper()
	g.store = openNew(t)
	return g.box(t)
}

func (g *oneGateway) Restart(t testing.TB) outboxtest.Box {
	t.Helper()
	g.store = reopen(t, g.store)
	return g.box(t)
}

func (g *oneGateway) box(t testing.TB) outboxtest.Box {
	t.Helper()
	outbox := g.store.Outbox()
	if _, _, err := outbox.Lead(t.Context()); err != nil {
		t.Fatal(err)
	}
	return outboxtest.Box{Outbox: outbox, Apply: g.store.Apply, SetReceivers: g.store.SetReceivers, Forget: g.store.ForgetMessages}
}

func TestOutbox(t *testing.T) {
	outboxtest.Test(t, func(*testing.T) outboxtest.Gateways { return new(oneGateway) })
}

func TestOutbox_model(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			outboxtest.Model(t, new(oneGateway), seed, 60)
		})
	}
}

// The key of a message in the database names one message, and is that message's.
func FuzzMessageAt(f *testing.F) {
	f.Add(messageKey(hook.ID, "acme", webhook.NewID(1, 2))[len(messagePrefix):])
	f.Add([]byte(nil))
	f.Add([]byte(hook.ID + "\xffacme"))
	f.Fuzz(func(t *testing.T, key []byte) {
		key = append([]byte(messagePrefix), key...)
		if m, ok := messageAt(key); ok && !bytes.Equal(messageKey(m.Receiver, m.Workspace, m.ID), key) {
			t.Errorf("%q is read as %+v, whose key is another one", key, m)
		}
	})
}
