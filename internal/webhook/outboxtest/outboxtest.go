// Package outboxtest tests what every outbox of webhooks must do.
package outboxtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// Box is an outbox, with the gateway whose changes fill it.
type Box struct {
	webhook.Outbox
	// Apply makes a change.
	Apply func(context.Context, apikey.Change) (apikey.Outcome, error)
	// SetReceivers sets who is told of it.
	SetReceivers func([]webhook.Receiver) error
	// Forget deletes the messages to others.
	Forget func(context.Context) (int, error)
}

// Gateways opens gateways on one set of keys, which is empty at first.
type Gateways interface {
	// Open returns the outbox of the gateway, which leads.
	Open(t testing.TB) Box
	// Restart stops the gateway and starts it again. It has no receivers then.
	Restart(t testing.TB) Box
}

// late is how much later than the time that it is due by something may be announced.
const late = 3 * time.Second

const day = 24 * time.Hour

var (
	everything = webhook.Receiver{
		ID: webhook.ReceiverID("https://everything.example"), Types: webhook.Types,
		Expiring: []webhook.Window{{Before: 14 * day, Within: "14d"}, {Before: 3 * day, Within: "3d"}, {Before: day, Within: "24h"}},
	}
	ends = webhook.Receiver{
		ID: webhook.ReceiverID("https://ends.example"), Types: []webhook.Type{webhook.KeyRevoked, webhook.KeyExpired, webhook.KeyExpiring},
		Expiring: []webhook.Window{{Before: 3 * day, Within: "72h"}, {Before: 30 * day, Within: "30d"}},
	}
)

// Test runs all tests, each with gateways of its own.
func Test(t *testing.T, gateways func(t *testing.T) Gateways) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *box)
	}{
		{"changes", testChanges},
		{"unconfigured", testUnconfigured},
		{"pages", testPages},
		{"restart", testRestart},
		{"lead", testLead},
		{"expiry", testExpiry},
		{"beginsInWindows", testBeginsInWindows},
		{"imported", testImported},
		{"pause", testPause},
		{"newReceiver", testNewReceiver},
		{"manyAtOnce", testManyAtOnce},
		{"stranger", testStranger},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := gateways(t)
			b := &box{Box: g.Open(t), gateways: g, now: time.Now().UTC().Truncate(time.Millisecond)}
			test.run(t, b)
		})
	}
}

// box is a Box with a time of its own.
type box struct {
	Box
	gateways  Gateways
	receivers []webhook.Receiver
	now       time.Time
	keys      int
}

func (b *box) receive(t testing.TB, receivers ...webhook.Receiver) {
	t.Helper()
	if err := b.SetReceivers(receivers); err != nil {
		t.Fatalf("SetReceivers: got error %v, want none", err)
	}
	b.receivers = receivers
}

func (b *box) restart(t testing.TB) {
	t.Helper()
	b.Box = b.gateways.Restart(t)
	b.receive(t, b.receivers...)
}

func (b *box) apply(t testing.TB, do apikey.Action) apikey.Outcome {
	t.Helper()
	outcome, err := b.Apply(t.Context(), apikey.Change{EventID: apikey.NewEventID(b.now), At: b.now, Actor: "tester", Do: do})
	if err != nil {
		t.Fatalf("%T: got error %v, want none", do, err)
	}
	return outcome
}

func (b *box) newKey(ws string, life time.Duration) apikey.Key {
	b.keys++
	token := apikey.NewToken(apikey.DefaultPrefix)
	return apikey.Key{
		ID: apikey.NewKeyID(b.now), WorkspaceID: ws, Name: fmt.Sprintf("Key number %d", b.keys), Preset: apikey.ReadOnly,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: b.now, CreatedBy: "tester", ExpiresAt: b.now.Add(life),
	}
}

func (b *box) create(t testing.TB, ws string, life time.Duration) apikey.Key {
	t.Helper()
	return b.apply(t, apikey.Create{Key: b.newKey(ws, life)}).Key
}

func (b *box) importKey(t testing.TB, ws string, life time.Duration) apikey.Key {
	t.Helper()
	key := b.newKey(ws, life)
	key.Imported = true
	return b.apply(t, apikey.Import{Key: key}).Key
}

func (b *box) rotate(t testing.TB, key apikey.Key, revokeIn, life time.Duration) (replacement apikey.Key) {
	t.Helper()
	do := apikey.Rotate{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Replacement: b.newKey("", life)}
	if revokeIn >= 0 {
		do.RevokeOldAt = b.now.Add(revokeIn)
	}
	return b.apply(t, do).Key
}

func (b *box) revoke(t testing.TB, key apikey.Key) {
	t.Helper()
	b.apply(t, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
}

// announce announces what is due.
func (b *box) announce(t testing.TB) {
	t.Helper()
	for more := true; more; {
		var err error
		if more, err = b.Announce(t.Context(), b.now.Add(late)); err != nil {
			t.Fatalf("Announce: got error %v, want none", err)
		}
	}
}

// pass lets time pass, and announces what is due then.
func (b *box) pass(t testing.TB, d time.Duration) {
	t.Helper()
	b.now = b.now.Add(d)
	b.announce(t)
}

// pending returns all messages to a receiver, in their order for each workspace.
func (b *box) pending(t testing.TB, receiver webhook.Receiver) (all []webhook.Message) {
	t.Helper()
	for _, ws := range b.Workspaces(receiver.ID) {
		for after := ""; ; {
			some, err := b.Pending(t.Context(), receiver.ID, ws, after, 7)
			if err != nil {
				t.Fatalf("Pending: got error %v, want messages", err)
			}
			if len(some) == 0 {
				break
			}
			all, after = append(all, some...), some[len(some)-1].ID
		}
	}
	return all
}

// says returns what a message says in short: expiring 14d.
func says(t testing.TB, m webhook.Message) string {
	t.Helper()
	e := decode(t, m)
	_, short, _ := strings.Cut(e.Type, ".")
	if e.Data.Within != "" {
		short += " " + e.Data.Within
	}
	return short
}

// about returns what the pending messages to a receiver say about a subject.
func (b *box) about(t testing.TB, receiver webhook.Receiver, subject string) (said []string) {
	t.Helper()
	for _, m := range b.pending(t, receiver) {
		if m.Subject == subject {
			said = append(said, says(t, m))
		}
	}
	return said
}

// want waits until the pending messages to a receiver say so about a subject. In a fleet,
// the gateway that leads hears of them from etcd.
func (b *box) want(t testing.TB, receiver webhook.Receiver, subject string, want ...string) {
	t.Helper()
	var got []string
	if !b.await(func() bool { got = b.about(t, receiver, subject); return slices.Equal(got, want) }) {
		t.Errorf("messages to %s about %s: got %q, want %q", receiver.ID, subject, got, want)
	}
}

// wantCount waits until so many messages to a receiver are pending.
func (b *box) wantCount(t testing.TB, receiver webhook.Receiver, want int) {
	t.Helper()
	if !b.await(func() bool { return b.Count(receiver.ID) == want }) {
		t.Fatalf("pending messages to %s: got %d, want %d", receiver.ID, b.Count(receiver.ID), want)
	}
}

// await waits until something is so, but not for ever.
func (b *box) await(isSo func() bool) bool {
	for deadline := time.Now().Add(time.Minute); !isSo(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
