package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// life is a plain model of keys. Nothing in it expires: the tests take less than a
// day.
type life struct {
	keys      map[string]*lived
	suspended map[string]bool
}

type lived struct {
	workspace, name      string
	revoked              bool
	replacedBy, replaces string
}

// do makes a change and returns the code of its refusal, "" if it took effect.
func (l *life) do(action apikey.Action) string {
	taken := func(ws, name string) bool {
		for _, key := range l.keys {
			if key.workspace == ws && !key.revoked && strings.EqualFold(key.name, name) {
				return true
			}
		}
		return false
	}
	switch do := action.(type) {
	case apikey.Create:
		if taken(do.Key.WorkspaceID, do.Key.Name) {
			return "name_taken"
		}
		l.keys[do.Key.ID] = &lived{workspace: do.Key.WorkspaceID, name: do.Key.Name}
	case apikey.Update:
		key := l.keys[do.KeyID]
		switch {
		case key.revoked:
			return "not_active"
		case !strings.EqualFold(key.name, *do.Name) && taken(key.workspace, *do.Name):
			return "name_taken"
		}
		key.name = *do.Name
	case apikey.Rotate:
		old := l.keys[do.KeyID]
		if old.revoked {
			return "not_active"
		}
		for next := l.keys[old.replacedBy]; next != nil; next = l.keys[next.replacedBy] {
			if !next.revoked {
				return "already_rotated"
			}
		}
		before := 0
		for previous := l.keys[old.replaces]; previous != nil; previous = l.keys[previous.replaces] {
			if !previous.revoked {
				before++
			}
		}
		if before >= 2 {
			return "too_many_keys"
		}
		old.replacedBy, old.revoked = do.Replacement.ID, !do.RevokeOldAt.IsZero()
		l.keys[do.Replacement.ID] = &lived{workspace: old.workspace, name: old.name, replaces: do.KeyID}
	case apikey.Revoke:
		l.keys[do.KeyID].revoked = true
	case apikey.RevokeAll:
		for _, key := range l.keys {
			key.revoked = key.revoked || key.workspace == do.WorkspaceID
		}
	case apikey.Suspend:
		l.suspended[do.WorkspaceID] = true
	case apikey.Resume:
		l.suspended[do.WorkspaceID] = false
	}
	return ""
}

// credential is a key in use.
type credential struct {
	token apikey.Token
	key   apikey.Key
	// over is set once a change that revoked the key has been answered.
	over atomic.Bool
}

// world is a gateway with clients that change and use its keys.
type world struct {
	*instance
	mu          sync.Mutex
	credentials []*credential
	changes     map[string]apikey.Action // by actor: each change has its own
	problems    []string
}

func (w *world) problem(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

func (w *world) some(r *rand.Rand) *credential {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Mostly the newest, because more and more of the others are revoked.
	n := len(w.credentials)
	return w.credentials[max(n-1-r.IntN(8), r.IntN(n)*r.IntN(2))]
}

// client makes random changes.
func (w *world) client(r *rand.Rand, changes int) {
	workspaces, names := []string{"a", "ab"}, []string{"Zapier", "ZAPIER", "Billing", "Export"}
	for range changes {
		ws, name := workspaces[r.IntN(2)], names[r.IntN(len(names))]
		now := w.clock.Now().UTC().Truncate(time.Millisecond)
		var (
			do   apikey.Action
			made *credential
		)
		old := w.some(r)
		token, key := newTestKey(name)
		key.WorkspaceID = ws
		switch n := r.IntN(20); {
		case n < 6:
			do, made = apikey.Create{Key: key}, &credential{token: token, key: key}
		case n < 11:
			rotation := apikey.Rotate{WorkspaceID: old.key.WorkspaceID, KeyID: old.key.ID, Replacement: key}
			rotation.Replacement.Name = ""
			if r.IntN(3) == 0 {
				rotation.RevokeOldAt = now
			}
			do, made = rotation, &credential{token: token, key: key}
		case n < 14:
			do = apikey.Update{WorkspaceID: old.key.WorkspaceID, KeyID: old.key.ID, Name: &name}
		case n < 17:
			do = apikey.Revoke{WorkspaceID: old.key.WorkspaceID, KeyID: old.key.ID}
		case n < 18:
			do = apikey.RevokeAll{WorkspaceID: ws}
		case n < 19:
			do = apikey.Suspend{WorkspaceID: ws}
		default:
			do = apikey.Resume{WorkspaceID: ws}
		}
		change := changeBy(now, do)
		change.Actor = change.EventID
		w.mu.Lock()
		w.changes[change.Actor] = do
		w.mu.Unlock()
		outcome, err := w.store.Apply(context.Background(), change)
		if _, refused := errors.AsType[*apikey.Error](err); err != nil && !refused {
			w.problem("%T: %v", do, err)
		}
		if err != nil {
			continue
		}
		w.mu.Lock()
		for _, c := range w.credentials {
			if revoked, ok := do.(apikey.Revoke); ok && c.key.ID == revoked.KeyID || slices.Contains(outcome.Ended, c.key.Digest) {
				c.over.Store(true)
			}
		}
		if made != nil {
			made.key = outcome.Key
			w.credentials = append(w.credentials, made)
		}
		w.mu.Unlock()
	}
}

// user uses keys until it is stopped, and checks that no revoked one passes.
func (w *world) user(r *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		c := w.some(r)
		over := c.over.Load()
		if got := w.check(c.token); over && got != authn.Revoked || got == authn.Unknown || got == authn.Unavailable {
			w.problem("%s, revoked before: %t: got %q", c.key.ID, over, got)
		}
		if r.IntN(50) == 0 {
			if err := w.authn.FlushUses(time.Now(), 0, w.store.NoteUses); err != nil {
				w.problem("FlushUses: %v", err)
			}
		}
	}
}

// Concurrent changes by many clients have the same result as one after another in
// the order of the audit trail. Nothing that was revoked passes once its revocation
// was answered, nor after a restart.
func TestGateway_lifeOfKeys(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	for range rounds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) { liveOnce(t, seed) })
	}
}

func liveOnce(t *testing.T, seed uint64) {
	core, logs := observer.New(zapcore.InfoLevel)
	path := filepath.Join(t.TempDir(), "keys")
	g, closeIt := openTestInstance(t, path, plainSettings, zap.New(core))
	w := &world{instance: g, changes: map[string]apikey.Action{}}
	model := &life{keys: map[string]*lived{}, suspended: map[string]bool{}}
	token, key := newTestKey("The first")
	key.WorkspaceID = "a"
	first := apikey.Create{Key: key}
	g.mustChange(t, first)
	model.do(first)
	w.credentials = []*credential{{token: token, key: key}}
	logs.TakeAll()

	var clients, users sync.WaitGroup
	stop := make(chan struct{})
	for n := range uint64(2) {
		users.Go(func() { w.user(rand.New(rand.NewPCG(seed, n)), stop) })
	}
	for n := range uint64(6) {
		clients.Go(func() { w.client(rand.New(rand.NewPCG(seed, 100+n)), 25) })
	}
	clients.Wait()
	close(stop)
	users.Wait()
	for _, problem := range w.problems {
		t.Error(problem)
	}

	for _, entry := range logs.FilterLoggerName("audit").All() {
		fields := entry.ContextMap()
		actor, _ := fields["actor"].(string)
		details, _ := fields["details"].(map[string]any)
		refused, _ := details["refused"].(string)
		do := w.changes[actor]
		if do == nil {
			t.Fatalf("the audit log has event %v, which nobody made", fields["id"])
		}
		if want := model.do(do); refused != want {
			t.Fatalf("%s %+v: got refusal %q, want %q", fields["operation"], do, refused, want)
		}
	}
	agree := func(when string) {
		t.Helper()
		for _, c := range w.credentials {
			want := model.keys[c.key.ID]
			got, err := g.store.Key(t.Context(), want.workspace, c.key.ID)
			if err != nil {
				t.Fatalf("%s: Key: got error %v, want %s", when, err, c.key.ID)
			}
			if revoked := !got.RevokedAt.IsZero(); revoked != want.revoked || got.Name != want.name || got.Replaces != want.replaces || got.ReplacedBy != want.replacedBy {
				t.Errorf("%s: got %+v, want %+v", when, got, want)
			}
			result := authn.Allowed
			if want.revoked {
				result = authn.Revoked
			} else if model.suspended[want.workspace] {
				result = authn.Suspended
			}
			if got := g.check(c.token); got != result {
				t.Errorf("%s: check of %s: got %q, want %q", when, c.key.ID, got, result)
			}
		}
		if len(w.credentials) != len(model.keys) {
			t.Errorf("%s: got %d keys, want %d", when, len(w.credentials), len(model.keys))
		}
	}
	agree("in the end")
	closeIt()
	g, _ = openTestInstance(t, path, plainSettings, zap.NewNop())
	agree("after a restart")
}
