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
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

var plainSettings = settings{cacheSize: 1000, auditRetention: defaultAuditRetention, lastUsedResolution: defaultLastUsedResolution}

// openTestInstance opens a gateway. It is closed when the test ends, or earlier by
// closeIt.
func openTestInstance(t testing.TB, path string, settings settings, log *zap.Logger) (i *instance, closeIt func()) {
	t.Helper()
	i, err := openInstance(path, settings, log)
	if err != nil {
		t.Fatalf("openInstance: got error %v, want a gateway", err)
	}
	closed := false
	closeIt = func() {
		if closed {
			return
		}
		closed = true
		if err := i.Destruct(); err != nil {
			t.Errorf("Destruct: got error %v, want none", err)
		}
	}
	t.Cleanup(closeIt)
	return i, closeIt
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

// change makes a change at the current time.
func (i *instance) change(do apikey.Action) (apikey.Outcome, error) {
	return i.store.Apply(context.Background(), changeBy(i.clock.Now(), do))
}

func (i *instance) mustChange(t testing.TB, do apikey.Action) apikey.Outcome {
	t.Helper()
	outcome, err := i.change(do)
	if err != nil {
		t.Fatalf("%T: got error %v, want none", do, err)
	}
	return outcome
}

var readPolicy = &authn.Policy{ReadMethods: []string{http.MethodGet}}

// check judges a read with a token.
func (i *instance) check(token apikey.Token) authn.Result {
	facts := &authn.Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + token.Reveal()}}
	return i.authn.Check(context.Background(), readPolicy, facts).Result
}

func (i *instance) lastUsed(t testing.TB, key apikey.Key) time.Time {
	t.Helper()
	got, err := i.store.Key(context.Background(), key.WorkspaceID, key.ID)
	if err != nil {
		t.Fatalf("Key: got error %v, want a key", err)
	}
	return got.LastUsedAt
}

// The last use is visible within about a second, and is exact after a restart.
func TestInstance_lastUsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	i, closeIt := openTestInstance(t, path, plainSettings, zap.NewNop())
	token, key := newTestKey("Zapier")
	i.mustChange(t, apikey.Create{Key: key})
	if got := i.lastUsed(t, key); !got.IsZero() {
		t.Errorf("before any use: got a last use at %v", got)
	}
	use := func() time.Time {
		before := time.Now().Truncate(time.Millisecond)
		if got := i.check(token); got != authn.Allowed {
			t.Fatalf("got %q, want %q", got, authn.Allowed)
		}
		return before
	}
	first := use()
	gatewaytest.Await(t, "the use to be shown", func() bool { return !i.lastUsed(t, key).Before(first) })
	last := use() // within the resolution: closing writes it
	closeIt()
	i, _ = openTestInstance(t, path, plainSettings, zap.NewNop())
	if got := i.lastUsed(t, key); got.Before(last) || got.After(time.Now()) {
		t.Errorf("after a restart: got a last use at %v, want %v or a moment later", got, last)
	}
}

// A revocation while a use is being recorded is not undone by it.
func TestInstance_lastUseOfARevokedKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	quick := plainSettings
	quick.lastUsedResolution = time.Nanosecond
	i, closeIt := openTestInstance(t, path, quick, zap.NewNop())
	var tokens []apikey.Token
	for n := range 20 {
		token, key := newTestKey(fmt.Sprintf("Key %d", n))
		i.mustChange(t, apikey.Create{Key: key})
		flushed := make(chan error)
		if got := i.check(token); got != authn.Allowed {
			t.Fatalf("got %q, want %q", got, authn.Allowed)
		}
		go func() { flushed <- i.authn.FlushUses(time.Now(), 0, i.store.NoteUses) }()
		i.mustChange(t, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})
		if err := <-flushed; err != nil {
			t.Errorf("FlushUses: got error %v, want none", err)
		}
		tokens = append(tokens, token)
	}
	closeIt()
	i, _ = openTestInstance(t, path, plainSettings, zap.NewNop())
	for _, token := range tokens {
		if got := i.check(token); got != authn.Revoked {
			t.Errorf("after a restart: got %q, want %q", got, authn.Revoked)
		}
	}
}

// Events that are too old are deleted at the start and then regularly, by the
// retention of the latest configuration.
func TestInstance_auditRetention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	i, closeIt := openTestInstance(t, path, plainSettings, zap.NewNop())
	for n, age := range []time.Duration{500, 300, 100, 0} {
		for _, do := range []apikey.Action{
			apikey.Suspend{WorkspaceID: fmt.Sprintf("ws%d", age)},
			apikey.OpenFeed{WorkspaceID: "acme", Digest: apikey.Digest{1, byte(n)}}, // it ends the one before
		} {
			if _, err := i.store.Apply(t.Context(), changeBy(time.Now().Add(-age*24*time.Hour), do)); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() int {
		events, _, err := i.store.Events(t.Context(), "", apikey.Page{Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		return len(events)
	}
	closeIt()
	i, _ = openTestInstance(t, path, plainSettings, zap.NewNop())
	gatewaytest.Await(t, "the start to leave the 6 events of the last 400 days", func() bool { return left() == 6 })
	shorter := plainSettings
	shorter.auditRetention = 200 * 24 * time.Hour
	i.adopt(shorter)
	i.deleteOld(t.Context())
	if got := left(); got != 4 {
		t.Errorf("got %d events, want the 4 of the last 200 days", got)
	}
	now := i.clock.Confirmed()
	if got, err := i.store.ForgetFeeds(t.Context(), now.Add(-50*24*time.Hour), now); err != nil || got != 1 {
		t.Errorf("got %d feeds that ended more than 50 days ago and error %v, want the one of the last 200 days", got, err)
	}
}

// Every event is in the log too, complete, and without tokens.
func TestInstance_auditLog(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	i, _ := openTestInstance(t, filepath.Join(t.TempDir(), "keys"), plainSettings, zap.New(core).Named("api_keys"))
	token, key := newTestKey("Zapier")
	second, replacement := newTestKey("")
	ws, secret := "acme", token.Reveal()
	i.mustChange(t, apikey.Create{Key: key})
	i.mustChange(t, apikey.Update{WorkspaceID: ws, KeyID: key.ID, Owner: new("Ops")})
	i.mustChange(t, apikey.Rotate{WorkspaceID: ws, KeyID: key.ID, Replacement: replacement})
	i.mustChange(t, apikey.Lookup{Digest: second.Digest()})
	i.mustChange(t, apikey.Revoke{WorkspaceID: ws, KeyID: key.ID, Reason: "leaked"})
	i.mustChange(t, apikey.Revoke{WorkspaceID: ws, KeyID: key.ID}) // changes nothing
	i.mustChange(t, apikey.RevokeAll{WorkspaceID: ws})
	i.mustChange(t, apikey.Suspend{WorkspaceID: ws})
	i.mustChange(t, apikey.Resume{WorkspaceID: ws})
	if _, err := i.change(apikey.Revoke{WorkspaceID: ws, KeyID: string(secret)}); !errors.Is(err, apikey.ErrNotFound) {
		t.Fatalf("got error %v, want ErrNotFound", err)
	}
	events, _, err := i.store.Events(t.Context(), "", apikey.Page{Limit: 100})
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
