package fleet

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/webhook"
	"github.com/agiled/caddy-api-keys/internal/webhook/outboxtest"
)

// hook is a receiver of everything.
var hook = webhook.Receiver{
	ID: webhook.ReceiverID("https://hook.example"), Types: webhook.Types,
	Expiring: []webhook.Window{{Before: 24 * time.Hour, Within: "1d"}},
}

// leader is a gateway of a fleet that leads.
type leader struct {
	options Options
	dir     string
	gateway *gateway
	resign  func()
}

func (l *leader) Open(t testing.TB) outboxtest.Box {
	t.Helper()
	l.gateway = openIn(t, l.dir, "gw", l.options)
	l.gateway.awaitLive(t)
	_, l.resign = l.gateway.mustLead(t)
	return outboxtest.Box{
		Outbox: l.gateway.Outbox(), Apply: l.gateway.store.Apply, SetReceivers: l.gateway.store.SetReceivers,
		Forget: l.gateway.Outbox().forget,
	}
}

func (l *leader) Restart(t testing.TB) outboxtest.Box {
	t.Helper()
	l.resign()
	l.gateway.close()
	return l.Open(t)
}

// mustLead waits until a gateway leads.
func (g *gateway) mustLead(t testing.TB) (leading context.Context, resign func()) {
	t.Helper()
	leading, resign, err := g.Outbox().Lead(t.Context())
	if err != nil {
		t.Fatalf("Lead: got error %v, want it to lead", err)
	}
	return leading, resign
}

func TestOutbox(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	n := 0
	outboxtest.Test(t, func(t *testing.T) outboxtest.Gateways {
		n++
		o := defaults(cluster)
		o.Prefix += fmt.Sprintf("fleet%d/", n)
		return &leader{options: o, dir: filepath.Join(t.TempDir(), "gw")}
	})
}

func (g *gateway) receive(t *testing.T, receivers ...webhook.Receiver) {
	t.Helper()
	if err := g.store.SetReceivers(receivers); err != nil {
		t.Fatal(err)
	}
}

// pending returns the messages to the hook about a workspace.
func (g *gateway) pending(t *testing.T, ws string) []webhook.Message {
	t.Helper()
	messages, err := g.Outbox().Pending(t.Context(), hook.ID, ws, "", 1000)
	if err != nil {
		t.Fatalf("Pending: got error %v, want messages", err)
	}
	return messages
}

func typesOf(messages []webhook.Message) string {
	var types []string
	for _, m := range messages {
		types = append(types, string(m.Type))
	}
	return strings.Join(types, " ")
}

// What a gateway has changed, and had no time to send, is sent by another one, in the order
// of the changes.
func TestOutbox_gatewayDies(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	all := make([]*proxied, 3)
	for i := range all {
		all[i] = openProxied(t, cluster, fmt.Sprintf("gw%d", i))
		all[i].receive(t, hook)
	}
	for _, g := range all {
		g.awaitLive(t)
	}
	leading, _ := all[0].mustLead(t)
	next := make(chan *proxied, 2)
	for _, g := range all[1:] {
		go func() {
			if _, _, err := g.Outbox().Lead(t.Context()); err == nil {
				next <- g
			}
		}()
	}
	key := issue("acme", "Zapier")
	all[1].apply(t, key.Create)
	all[2].apply(t, apikey.Expose{WorkspaceID: "acme", KeyID: key.Key.ID})
	all[0].apply(t, revoke(key))
	select {
	case g := <-next:
		t.Fatalf("%s leads alongside another one", g.name)
	default:
	}
	all[0].crash()

	g := <-next
	select {
	case <-leading.Done():
	case <-time.After(longEnough):
		t.Error("the one that is cut off keeps leading")
	}
	const want = "key.created key.exposed key.revoked"
	if got := typesOf(g.pending(t, "acme")); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := g.Outbox().Count(hook.ID); got != 3 {
		t.Errorf("got %d pending, want 3", got)
	}
	if err := g.Outbox().Done(t.Context(), g.pending(t, "acme")[:2]...); err != nil {
		t.Fatal(err)
	}
	if got := typesOf(g.pending(t, "acme")); got != "key.revoked" {
		t.Errorf("once two are done: got %q, want the third", got)
	}
}

// Each gateway writes messages for the receivers that it has.
func TestOutbox_receiversOfTheGatewayThatWasAsked(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	all[0].receive(t, hook)
	all[0].apply(t, newKey("with", "Zapier"))
	all[1].apply(t, newKey("without", "Zapier"))
	all[1].mustLead(t)
	if got := all[1].Outbox().Workspaces(hook.ID); !slices.Equal(got, []string{"with"}) {
		t.Errorf("got messages about %q, want those of the gateway with a receiver", got)
	}
}

// Two gateways that announce at a time, as when one does not know yet that it leads no
// longer, announce each end once.
func TestOutbox_twoAnnounce(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	now := time.Now()
	for _, g := range all {
		g.receive(t, hook)
	}
	if _, err := all[0].Outbox().Announce(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	const keys = 20
	for i := range keys {
		all[0].apply(t, newKey("acme", fmt.Sprintf("Key number %d", i)))
	}
	done := make(chan error)
	for _, g := range all {
		go func() {
			_, err := g.Outbox().Announce(t.Context(), now.Add(100*24*time.Hour))
			done <- err
		}()
	}
	for range all {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := strings.Count(typesOf(all[1].pending(t, "acme")), "key.expired"); got != keys {
		t.Errorf("got %d messages, want %d", got, keys)
	}
	all[0].awaitPosition(t, all[1])
	all[0].checkRecords(t)
}

// When the outbox is full, every gateway drops messages, and none takes longer for that.
func TestOutbox_full(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	for _, g := range all {
		g.receive(t, hook)
	}
	sender, other := all[0].Outbox(), all[1]
	sender.backlog = webhook.NewBacklog(3, 3)
	all[0].mustLead(t)
	announce := func(pending int) {
		t.Helper()
		for deadline := time.Now().Add(longEnough); sender.Count(hook.ID) != pending; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("got %d pending, want %d", sender.Count(hook.ID), pending)
			}
		}
		if _, err := sender.Announce(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		other.awaitPosition(t, all[0])
	}
	for i := range 3 {
		other.apply(t, newKey("acme", fmt.Sprintf("Key number %d", i)))
	}
	announce(3)
	other.apply(t, newKey("acme", "One too many"))
	if got := other.Outbox().Dropped(hook.ID); got != 1 {
		t.Errorf("got %d dropped, want 1", got)
	}
	if err := sender.Done(t.Context(), other.pending(t, "acme")...); err != nil {
		t.Fatal(err)
	}
	announce(0)
	other.apply(t, newKey("acme", "With room"))
	if got := typesOf(other.pending(t, "acme")); got != "key.created" {
		t.Errorf("got %q once there is room, want a message", got)
	}
}

// A message that no gateway has written is not sent, and does not stop the others.
func TestOutbox_forged(t *testing.T) {
	t.Parallel()
	g := startGateways(t, 1, defaults(etcdtest.Shared(t, 1)))[0]
	g.receive(t, hook)
	g.apply(t, newKey("acme", "Zapier"))
	e := g.connection()
	found, err := e.client.Get(t.Context(), e.name(messagePrefix), clientv3.WithPrefix())
	if err != nil || len(found.Kvs) != 1 {
		t.Fatalf("got %d messages and error %v, want one", len(found.Kvs), err)
	}
	forged := webhook.Message{Receiver: hook.ID, Workspace: "acme", ID: webhook.NewID(0, 0)}
	if _, err := e.client.Put(t.Context(), e.name(nameOfMessage(forged)), string(found.Kvs[0].Value)); err != nil {
		t.Fatal(err)
	}
	if got := g.pending(t, "acme"); len(got) != 1 || got[0].ID == forged.ID {
		t.Errorf("got %+v, want the one that the gateway has written", got)
	}
}

func TestOutbox_rekey(t *testing.T) {
	t.Parallel()
	o := defaults(etcdtest.Shared(t, 1))
	g := startGateways(t, 1, o)[0]
	g.receive(t, hook)
	g.apply(t, newKey("acme", "Zapier"))
	want := g.pending(t, "acme")
	g.adopt(t, withKeys(o, secondKey, oldKey))
	g.rekey(t)
	g.adopt(t, withKeys(o, secondKey))
	if got := g.pending(t, "acme"); len(got) != 1 || got[0].ID != want[0].ID {
		t.Errorf("got %+v with the new key alone, want %+v", got, want)
	}
}

func TestOutbox_model(t *testing.T) {
	t.Parallel()
	outboxtest.Model(t, &leader{options: defaults(etcdtest.Shared(t, 1)), dir: filepath.Join(t.TempDir(), "gw")}, 1, 60)
}

// What else is below the prefix of messages is none.
func FuzzMessageAt(f *testing.F) {
	f.Add(messagesTo(hook.ID, "acme") + webhook.NewID(1, 2))
	f.Add(messagePrefix + hook.ID + "//" + webhook.NewID(1, 2))
	f.Add("d/head")
	f.Fuzz(func(t *testing.T, name string) {
		if m, ok := messageAt(name); ok && nameOfMessage(m) != name {
			t.Errorf("%q is read as %+v, whose name is another one", name, m)
		}
	})
}
