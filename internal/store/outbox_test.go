package store

import (
	"fmt"
	"testing"

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
