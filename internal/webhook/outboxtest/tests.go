package outboxtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

func testChanges(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	old := b.create(t, "acme", 90*day)
	replacement := b.rotate(t, old, time.Hour, 90*day)
	b.revoke(t, replacement)
	other := b.create(t, "acme", 90*day)
	b.apply(t, apikey.Expose{WorkspaceID: "acme", KeyID: other.ID})
	b.apply(t, apikey.Suspend{WorkspaceID: "acme"})
	b.apply(t, apikey.Resume{WorkspaceID: "acme"})
	atOnce := b.rotate(t, other, 0, 90*day)
	beta := b.create(t, "beta", 90*day)
	b.apply(t, apikey.Update{WorkspaceID: "beta", KeyID: beta.ID, Name: new("Another name")}) // which is not told
	b.apply(t, apikey.Leak{WorkspaceID: "beta", KeyID: beta.ID, Source: "github"})
	b.apply(t, apikey.Leak{WorkspaceID: "beta", KeyID: beta.ID, Source: "github", Revoke: true})
	outcome := b.apply(t, apikey.RevokeAll{WorkspaceID: "acme", Reason: "left"})
	if outcome.Revoked != 2 { // the one that was replaced is active for an hour
		t.Errorf("revoke-all: got %d keys, want 2", outcome.Revoked)
	}
	// What changes nothing, or nothing that anybody asks for, is not told.
	b.revoke(t, atOnce)
	b.apply(t, apikey.Leak{WorkspaceID: "beta", KeyID: beta.ID, Source: "github", Revoke: true})
	b.apply(t, apikey.Lookup{Digest: beta.Digest})
	b.apply(t, apikey.Resume{WorkspaceID: "acme"})

	b.wantCount(t, everything, 15)
	b.want(t, everything, old.ID, "created", "rotated", "revoked")
	b.want(t, everything, replacement.ID, "revoked")
	b.want(t, everything, other.ID, "created", "exposed", "rotated", "revoked")
	b.want(t, everything, atOnce.ID, "revoked")
	b.want(t, everything, "acme", "suspended", "resumed")
	b.want(t, everything, beta.ID, "created", "leaked", "revoked", "leaked")
	b.wantCount(t, ends, 5)
	b.want(t, ends, other.ID, "revoked")
	if got := b.Workspaces(everything.ID); !slices.Equal(got, []string{"acme", "beta"}) {
		t.Errorf("workspaces: got %q, want both", got)
	}
	for _, m := range b.pending(t, everything) {
		e := decode(t, m)
		if m.Type == webhook.KeyRotated && m.Subject == old.ID && (e.Data.Key.ReplacedBy == nil || *e.Data.Key.ReplacedBy != replacement.ID) {
			t.Errorf("the body of %s does not name its replacement: %s", m.Type, m.Body)
		}
		if !e.Timestamp.Equal(b.now) || !m.At.Equal(b.now) {
			t.Errorf("the time of %s: got %v and %v, want %v", m.Type, e.Timestamp, m.At, b.now)
		}
	}
}

func testUnconfigured(t *testing.T, b *box) {
	key := b.create(t, "acme", 90*day)
	b.announce(t)
	b.receive(t, ends)
	b.apply(t, apikey.Suspend{WorkspaceID: "acme"})
	b.revoke(t, key)
	b.wantCount(t, ends, 1)
	b.want(t, ends, key.ID, "revoked")
	b.wantCount(t, everything, 0)
}

func testPages(t *testing.T, b *box) {
	b.receive(t, everything)
	for range 20 {
		b.create(t, "acme", 90*day)
	}
	b.create(t, "beta", 90*day)
	b.wantCount(t, everything, 21)
	all := b.pending(t, everything)
	if !slices.IsSortedFunc(all[:20], func(a, b webhook.Message) int { return compare(a.ID, b.ID) }) {
		t.Error("the messages are not in order")
	}
	// Some from the middle, some twice.
	for _, some := range [][]webhook.Message{all[5:8], all[5:6], all[:2], nil} {
		if err := b.Done(t.Context(), some...); err != nil {
			t.Fatalf("Done: got error %v, want none", err)
		}
	}
	b.wantCount(t, everything, 16)
	want := slices.Concat(all[2:5], all[8:])
	if got := b.pending(t, everything); !slices.EqualFunc(got, want, sameMessage) {
		t.Errorf("pending: got %d messages, want the %d that were not done", len(got), len(want))
	}
	// From one that is not there any more.
	got, err := b.Pending(t.Context(), everything.ID, "acme", all[6].ID, 2)
	if err != nil || !slices.EqualFunc(got, all[8:10], sameMessage) {
		t.Errorf("pending after one that is done: got %+v and error %v, want %+v", got, err, all[8:10])
	}
	if err := b.Done(t.Context(), want...); err != nil {
		t.Fatalf("Done: got error %v, want none", err)
	}
	b.wantCount(t, everything, 0)
	if got := b.Workspaces(everything.ID); len(got) > 0 {
		t.Errorf("workspaces without messages: got %q, want none", got)
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func sameMessage(a, b webhook.Message) bool {
	return a.ID == b.ID && a.Receiver == b.Receiver && a.Workspace == b.Workspace && string(a.Body) == string(b.Body)
}

func testRestart(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	key := b.create(t, "acme", 15*day)
	b.announce(t)
	b.wantCount(t, everything, 1)
	before := b.pending(t, everything)
	b.restart(t)
	b.wantCount(t, everything, 1)
	if got := b.pending(t, everything); !slices.EqualFunc(got, before, sameMessage) {
		t.Errorf("after a restart: got %+v, want %+v", got, before)
	}
	b.pass(t, 2*day)
	b.restart(t)
	b.announce(t)
	b.pass(t, time.Hour)
	b.wantCount(t, everything, 2)
	b.want(t, everything, key.ID, "created", "expiring 14d")
	b.revoke(t, key)
	b.restart(t)
	b.pass(t, 20*day)
	b.wantCount(t, everything, 3)
	b.want(t, everything, key.ID, "created", "expiring 14d", "revoked")
	b.want(t, ends, key.ID, "expiring 30d", "revoked")
}

func testLead(t *testing.T, b *box) {
	// The one that the suite was given leads.
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, _, err := b.Lead(ctx)
		failed <- err
	}()
	select {
	case err := <-failed:
		t.Fatalf("a second one leads, or got error %v, want it to wait", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want that the context is canceled", err)
	}
}

func testExpiry(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	b.announce(t)
	key := b.create(t, "acme", 60*day)
	replaced := b.create(t, "acme", 60*day)
	imported := b.importKey(t, "acme", 60*day)
	revoked := b.create(t, "acme", 60*day)
	b.pass(t, 29*day)
	b.want(t, ends, key.ID)
	b.pass(t, day)
	b.want(t, ends, key.ID, "expiring 30d")
	b.pass(t, 16*day)
	b.revoke(t, revoked)
	b.rotate(t, replaced, day, 90*day)
	for range 20 {
		b.pass(t, day)
	}
	b.want(t, ends, key.ID, "expiring 30d", "expiring 72h", "expired")
	b.want(t, ends, imported.ID, "expiring 30d", "expiring 72h", "expired")
	b.want(t, everything, imported.ID, "expiring 14d", "expiring 3d", "expiring 24h", "expired")
	b.want(t, everything, revoked.ID, "created", "expiring 14d", "revoked")
	// It ends by being revoked, so it does not expire.
	b.want(t, everything, replaced.ID, "created", "expiring 14d", "rotated", "revoked")
	for _, m := range b.pending(t, everything) {
		switch e := decode(t, m); {
		case m.Type == webhook.KeyExpired && (e.Data.Key.Status != "expired" || !e.Timestamp.Equal(key.ExpiresAt)):
			t.Errorf("%s: got %s, want it at its expiry", m.Type, m.Body)
		case m.Type == webhook.KeyRevoked && m.Subject == replaced.ID && (e.Data.Key.Status != "revoked" || e.Data.Key.RevokedAt == nil || !e.Timestamp.Equal(*e.Data.Key.RevokedAt)):
			t.Errorf("%s: got %s, want it at its revocation", m.Type, m.Body)
		}
	}
}

func testBeginsInWindows(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	b.announce(t)
	b.now = b.now.Add(30 * time.Second)
	short := b.create(t, "acme", 2*day)
	edge := b.create(t, "acme", 14*day) // Announce has not been there yet
	imported := b.importKey(t, "acme", 2*day)
	replacement := b.rotate(t, edge, -1, time.Hour)
	b.want(t, everything, short.ID, "created", "expiring 3d")
	b.want(t, ends, short.ID, "expiring 72h")
	b.announce(t)
	b.pass(t, time.Minute)
	b.want(t, everything, short.ID, "created", "expiring 3d")
	b.want(t, everything, edge.ID, "created", "rotated", "expiring 14d")
	b.want(t, everything, imported.ID)
	b.want(t, everything, replacement.ID, "expiring 24h")
	b.pass(t, 3*day)
	b.want(t, everything, short.ID, "created", "expiring 3d", "expired")
	b.want(t, everything, imported.ID, "expired")
	b.want(t, everything, replacement.ID, "expiring 24h", "expired")
}

// The windows that a key is in when it is imported have no message, although Announce has
// not been there since it came into them.
func testImported(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	b.announce(t)
	b.now = b.now.Add(30 * time.Second)
	both := b.importKey(t, "acme", 3*day-10*time.Second)
	one := b.importKey(t, "acme", 3*day-20*time.Second)
	later := b.importKey(t, "acme", 3*day+10*time.Second)
	created := b.create(t, "acme", 3*day-10*time.Second)
	b.announce(t)
	b.pass(t, time.Minute)
	b.want(t, everything, both.ID)
	b.want(t, ends, both.ID)
	b.want(t, everything, one.ID)
	b.want(t, everything, later.ID, "expiring 3d")
	b.want(t, ends, later.ID, "expiring 72h")
	b.want(t, everything, created.ID, "created", "expiring 3d")
	b.pass(t, 2*day)
	b.want(t, everything, both.ID, "expiring 24h")
}

// Several windows that came meanwhile are told of as the shortest, and none of a key that
// has ended.
func testPause(t *testing.T, b *box) {
	b.receive(t, everything)
	first, second := b.create(t, "acme", 20*day), b.create(t, "acme", 30*day)
	b.announce(t)
	b.pass(t, 28*day)
	b.want(t, everything, first.ID, "created", "expired")
	b.want(t, everything, second.ID, "created", "expiring 3d")
	// A clock that goes back announces nothing again.
	b.pass(t, -5*time.Minute)
	b.pass(t, -3*day)
	b.pass(t, 3*day+10*time.Minute)
	b.want(t, everything, first.ID, "created", "expired")
	b.want(t, everything, second.ID, "created", "expiring 3d")
}

// A receiver, or a window, is told of what comes after it was configured.
func testNewReceiver(t *testing.T, b *box) {
	b.receive(t, webhook.Receiver{ID: everything.ID, Types: webhook.Types, Expiring: everything.Expiring[:1]})
	key, ended := b.create(t, "acme", 4*day), b.create(t, "acme", day)
	b.announce(t)
	b.pass(t, 2*day)
	b.receive(t, everything, ends)
	b.announce(t)
	b.pass(t, time.Hour)
	b.want(t, everything, ended.ID, "created", "expiring 14d", "expired")
	b.want(t, everything, key.ID, "created", "expiring 14d")
	b.want(t, ends, key.ID)
	b.pass(t, 3*day)
	b.want(t, everything, key.ID, "created", "expiring 14d", "expired")
	b.want(t, ends, key.ID, "expired")
	b.want(t, ends, ended.ID)
}

// More keys end at the same moment than one transaction announces.
func testManyAtOnce(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	b.announce(t)
	const keys = 130
	for i := range keys {
		b.importKey(t, fmt.Sprint("ws", i%3), 20*day)
	}
	calls := 0
	for _, d := range []time.Duration{10 * day, 11 * day} {
		b.now = b.now.Add(d)
		for more := true; more; calls++ {
			var err error
			if more, err = b.Announce(t.Context(), b.now.Add(late)); err != nil {
				t.Fatalf("Announce: got error %v, want none", err)
			}
		}
		b.announce(t)
	}
	if calls < 4 {
		t.Errorf("got %d calls, want more: the work of each is bounded", calls)
	}
	b.wantCount(t, everything, 2*keys)
	b.wantCount(t, ends, keys)
	said := make(map[string][]string)
	for _, m := range b.pending(t, everything) {
		said[m.Subject] = append(said[m.Subject], says(t, m))
	}
	for id, got := range said {
		if !slices.Equal(got, []string{"expiring 14d", "expired"}) {
			t.Errorf("%s: got %q, want each once", id, got)
		}
	}
}

func testStranger(t *testing.T, b *box) {
	b.receive(t, everything, ends)
	key := b.create(t, "acme", 90*day)
	b.revoke(t, key)
	b.wantCount(t, everything, 2)
	b.wantCount(t, ends, 1)
	b.receive(t, ends)
	if n, err := b.Forget(t.Context()); err != nil || n != 2 {
		t.Errorf("got %d messages and error %v, want 2 deleted", n, err)
	}
	b.wantCount(t, everything, 0)
	b.wantCount(t, ends, 1)
}
