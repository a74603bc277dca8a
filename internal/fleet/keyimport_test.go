package fleet

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// imports returns changes that import keys with foreign tokens, each of which is unrecorded
// if it is refused.
func imports(tokens ...string) (changes []apikey.Change) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	for _, token := range tokens {
		key := newKey("acme", "Key "+token).Key
		key.Imported, key.TokenHint, key.Digest = true, "", sha256.Sum256([]byte(token))
		changes = append(changes, apikey.Change{
			EventID: apikey.NewEventID(now), At: now, Actor: "test", Do: apikey.Import{Key: key}, Unrecorded: true,
		})
	}
	return changes
}

// Keys are imported in their order, in as few transactions as etcd allows, and each
// gateway has them.
func TestFleet_import(t *testing.T) {
	t.Parallel()
	all := startGateways(t, 2, defaults(etcdtest.Shared(t, 1)))
	first := all[0].apply(t, newKey("acme", "Zapier")).Propagation.Revision
	var tokens []string
	for n := range 2*committedAtOnce - 1 {
		tokens = append(tokens, fmt.Sprint("sk_", n))
	}
	tokens = append(tokens, "sk_0") // again
	changes := imports(tokens...)
	results, err := all[0].store.ApplyAll(t.Context(), changes)
	if err != nil {
		t.Fatalf("ApplyAll: got error %v, want none", err)
	}
	for i, r := range results {
		again := i == len(results)-1
		if r.Err != nil || r.Outcome.Unchanged != again || again && r.Outcome.Key.ID != results[0].Outcome.Key.ID {
			t.Errorf("key %d: got %+v, %v", i, r.Outcome, r.Err)
		}
	}
	if got := results[len(results)-2].Outcome.Propagation.Revision - first; got > 3 {
		t.Errorf("got %d transactions for %d keys, want 2, or 3 if the first began early", got, len(results))
	}
	if got, want := all[0].events.Load(), int64(len(tokens)); got != want { // with the one of Zapier
		t.Errorf("got %d events, want %d", got, want)
	}
	other, err := all[1].store.ApplyAll(t.Context(), imports("sk_1"))
	if err != nil || other[0].Err != nil || !other[0].Outcome.Unchanged {
		t.Errorf("on the other gateway: got %+v, %v, want it unchanged", other, err)
	}
	taken := imports("sk_1")
	taken[0].Do = apikey.Import{Key: apikey.Key{WorkspaceID: "globex", Digest: sha256.Sum256([]byte("sk_1"))}}
	if other, err = all[1].store.ApplyAll(t.Context(), taken); err != nil || !errors.Is(other[0].Err, apikey.ErrTokenTaken) {
		t.Errorf("for another workspace: got %+v, %v, want %v", other, err, apikey.ErrTokenTaken)
	}
}

// A gateway that is cut off says so of each key.
func TestFleet_importCutOff(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Shared(t, 1)
	g := startProxied(t, cluster, 1)[0]
	g.each(func(p *etcdtest.Proxy) { p.Stall(etcdtest.Answers) })
	results, err := g.store.ApplyAll(t.Context(), imports("sk_1", "sk_2"))
	if err != nil || len(results) != 2 {
		t.Fatalf("got %d results, %v, want 2", len(results), err)
	}
	for _, r := range results {
		if !errors.Is(r.Err, apikey.ErrFleetInDoubt) {
			t.Errorf("got %v, want %v", r.Err, apikey.ErrFleetInDoubt)
		}
	}
}

// BenchmarkFleet_import imports a key into a fleet of two gateways, with as many others as
// the admin API imports at once.
func BenchmarkFleet_import(b *testing.B) {
	all := startGateways(b, 2, defaults(etcdtest.Start(b, 3)))
	for n := 0; b.Loop(); n++ {
		if n%(2*committedAtOnce) != 0 {
			continue
		}
		var tokens []string
		for i := range 2 * committedAtOnce {
			tokens = append(tokens, fmt.Sprint("sk_", n+i))
		}
		results, err := all[0].store.ApplyAll(b.Context(), imports(tokens...))
		if err != nil || results[0].Err != nil {
			b.Fatalf("got %v, %v", results[0].Err, err)
		}
	}
}
