package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

var plainSettings = settings{cacheSize: 1000, auditRetention: defaultAuditRetention, lastUsedResolution: defaultLastUsedResolution}

// openTestGateway opens a gateway, and closes it when the test ends, unless the
// test does.
func openTestGateway(t testing.TB, path string, settings settings, log *zap.Logger) (g *gateway, closeIt func()) {
	t.Helper()
	g, err := openGateway(path, settings, log)
	if err != nil {
		t.Fatalf("openGateway: got error %v, want a gateway", err)
	}
	closed := false
	closeIt = func() {
		if closed {
			return
		}
		closed = true
		if err := g.Destruct(); err != nil {
			t.Errorf("Destruct: got error %v, want none", err)
		}
	}
	t.Cleanup(closeIt)
	return g, closeIt
}

// newTestKey returns a token and a key that lives for a day.
func newTestKey(name string) (apikey.Token, apikey.Key) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	token := apikey.NewToken(apikey.DefaultPrefix)
	return token, apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: "acme", Name: name, Preset: apikey.FullAccess,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: now, ExpiresAt: now.Add(24 * time.Hour),
	}
}

func changeBy(at time.Time, do apikey.Action) apikey.Change {
	return apikey.Change{EventID: apikey.NewEventID(at), At: at.UTC().Truncate(time.Millisecond), Actor: "kim", RemoteIP: "192.0.2.1", Do: do}
}

// change makes a change now.
func (g *gateway) change(do apikey.Action) (apikey.Outcome, error) {
	return g.store.Apply(context.Background(), changeBy(g.clock.Now(), do))
}

func (g *gateway) mustChange(t testing.TB, do apikey.Action) apikey.Outcome {
	t.Helper()
	outcome, err := g.change(do)
	if err != nil {
		t.Fatalf("%T: got error %v, want none", do, err)
	}
	return outcome
}

var readPolicy = &authn.Policy{ReadMethods: []string{http.MethodGet}}

// check judges a read with a token.
func (g *gateway) check(token apikey.Token) authn.Result {
	facts := &authn.Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + token.Reveal()}}
	return g.authn.Check(context.Background(), readPolicy, facts).Result
}

func (g *gateway) lastUsed(t testing.TB, key apikey.Key) time.Time {
	t.Helper()
	got, err := g.store.Key(context.Background(), key.WorkspaceID, key.ID)
	if err != nil {
		t.Fatalf("Key: got error %v, want a key", err)
	}
	return got.LastUsedAt
}

// The last use is shown a second or so later, and is there after a restart, to
// the moment.
func TestGateway_lastUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	g, closeIt := openTestGateway(t, path, plainSettings, zap.NewNop())
	token, key := newTestKey("Zapier")
	g.mustChange(t, apikey.Create{Key: key})
	if got := g.lastUsed(t, key); !got.IsZero() {
		t.Errorf("before any use: got a last use at %v", got)
	}
	use := func() time.Time {
		before := time.Now().Truncate(time.Millisecond)
		if got := g.check(token); got != authn.Allowed {
			t.Fatalf("got %q, want %q", got, authn.Allowed)
		}
		return before
	}
	first := use()
	for deadline := time.Now().Add(10 * time.Second); g.lastUsed(t, key).Before(first); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the use is not shown")
		}
	}
	last := use() // within the resolution: closing writes it
	closeIt()
	g, _ = openTestGateway(t, path, plainSettings, zap.NewNop())
	if got := g.lastUsed(t, key); got.Before(last) || got.After(time.Now()) {
		t.Errorf("after a restart: got a last use at %v, want %v or a moment later", got, last)
	}
}

// A revocation that comes while a use is being noted is not undone by it.
func TestGateway_lastUseOfARevokedKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	quick := plainSettings
	quick.lastUsedResolution = time.Nanosecond
	g, closeIt := openTestGateway(t, path, quick, zap.NewNop())
	var tokens []apikey.Token
	for i := range 20 {
		token, key := newTestKey(fmt.Sprintf("Key %d", i))
		g.mustChange(t, apikey.Create{Key: key})
		flushed := make(chan error)
		if got := g.check(token); got != authn.Allowed {
			t.Fatalf("got %q, want %q", got, authn.Allowed)
		}
		go func() { flushed <- g.authn.FlushUses(time.Now(), 0, g.store.NoteUses) }()
		g.mustChange(t, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})
		if err := <-flushed; err != nil {
			t.Errorf("FlushUses: got error %v, want none", err)
		}
		tokens = append(tokens, token)
	}
	closeIt()
	g, _ = openTestGateway(t, path, plainSettings, zap.NewNop())
	for _, token := range tokens {
		if got := g.check(token); got != authn.Revoked {
			t.Errorf("after a restart: got %q, want %q", got, authn.Revoked)
		}
	}
}

// Events that are too old are deleted at the start and from then on, by what the
// configuration that came last says.
func TestGateway_auditRetention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	g, closeIt := openTestGateway(t, path, plainSettings, zap.NewNop())
	for _, age := range []time.Duration{500, 300, 100, 0} {
		do := apikey.Suspend{WorkspaceID: fmt.Sprintf("ws%d", age)}
		if _, err := g.store.Apply(t.Context(), changeBy(time.Now().Add(-age*24*time.Hour), do)); err != nil {
			t.Fatal(err)
		}
	}
	left := func() int {
		events, _, err := g.store.Events(t.Context(), "", apikey.Page{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(events)
	}
	closeIt()
	g, _ = openTestGateway(t, path, plainSettings, zap.NewNop())
	for deadline := time.Now().Add(10 * time.Second); left() != 3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after the start: got %d events, want the 3 of the last 400 days", left())
		}
	}
	shorter := plainSettings
	shorter.auditRetention = 200 * 24 * time.Hour
	g.adopt(shorter)
	g.forget(t.Context())
	if got := left(); got != 2 {
		t.Errorf("got %d events, want the 2 of the last 200 days", got)
	}
}

// Every event is in the log as well, whole, and no token is.
func TestGateway_auditLog(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	g, _ := openTestGateway(t, filepath.Join(t.TempDir(), "keys"), plainSettings, zap.New(core).Named("api_keys"))
	token, key := newTestKey("Zapier")
	second, replacement := newTestKey("")
	ws, secret := "acme", token.Reveal()
	g.mustChange(t, apikey.Create{Key: key})
	g.mustChange(t, apikey.Update{WorkspaceID: ws, KeyID: key.ID, Owner: new("Ops")})
	g.mustChange(t, apikey.Rotate{WorkspaceID: ws, KeyID: key.ID, Replacement: replacement})
	g.mustChange(t, apikey.Lookup{Digest: second.Digest()})
	g.mustChange(t, apikey.Revoke{WorkspaceID: ws, KeyID: key.ID, Reason: "leaked"})
	g.mustChange(t, apikey.Revoke{WorkspaceID: ws, KeyID: key.ID}) // changes nothing
	g.mustChange(t, apikey.RevokeAll{WorkspaceID: ws})
	g.mustChange(t, apikey.Suspend{WorkspaceID: ws})
	g.mustChange(t, apikey.Resume{WorkspaceID: ws})
	if _, err := g.change(apikey.Revoke{WorkspaceID: ws, KeyID: string(secret)}); !errors.Is(err, apikey.ErrNotFound) {
		t.Fatalf("got error %v, want ErrNotFound", err)
	}
	events, _, err := g.store.Events(t.Context(), "", apikey.Page{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	entries := logs.FilterLoggerName("api_keys.audit").All()
	if len(entries) != 9 || len(events) != 9 {
		t.Fatalf("got %d entries in the log and %d events, want 9 of each", len(entries), len(events))
	}
	for i, entry := range entries {
		event, fields := events[len(events)-1-i], entry.ContextMap()
		if entry.Level != zapcore.InfoLevel {
			t.Errorf("got the level %v, want info", entry.Level)
		}
		for name, want := range map[string]string{
			"id": event.ID, "operation": string(event.Operation), "workspace_id": event.WorkspaceID,
			"key_id": event.KeyID, "actor": "kim", "remote_ip": "192.0.2.1",
		} {
			if fields[name] != want {
				t.Errorf("%s of %s: got %v, want %q", name, event.Operation, fields[name], want)
			}
		}
		details, _ := fields["details"].(map[string]any)
		if fmt.Sprint(details) != fmt.Sprint(event.Details) {
			t.Errorf("details of %s: got %v, want %v", event.Operation, details, event.Details)
		}
		whole := fmt.Sprint(entry.Message, fields)
		for _, token := range []apikey.Token{token, second} {
			if strings.Contains(whole, string(token.Reveal())[4:]) {
				t.Errorf("the entry of %s holds a token: %s", event.Operation, whole)
			}
		}
	}
}
