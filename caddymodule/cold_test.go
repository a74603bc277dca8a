package caddymodule

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// coldStore is a store of many keys whose files are in the system's cache, as after a
// restart.
type coldStore struct {
	*store.Store
	requests []*authn.Facts // one for each key
	digests  []apikey.Digest
}

func newColdStore(b testing.TB, keys int) *coldStore {
	b.Helper()
	dir := b.TempDir() + "/keys"
	open := func() *store.Store {
		s, err := store.Open(dir, zap.NewNop(), nil)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	s, cold := open(), new(coldStore)
	var changes []apikey.Change
	for i := range keys {
		k := newKey(apikey.FullAccess)
		k.WorkspaceID = fmt.Sprintf("workspace-%d", i/100)
		changes = append(changes, apikey.Change{EventID: apikey.NewEventID(k.CreatedAt), At: k.CreatedAt, Actor: "test", Do: apikey.Create{Key: k.Key}})
		cold.digests = append(cold.digests, k.Digest)
		cold.requests = append(cold.requests, &authn.Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + k.token}})
	}
	for some := range slices.Chunk(changes, 100) {
		if _, err := s.ApplyAll(context.Background(), some); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil { // which writes the tables
		b.Fatal(err)
	}
	cold.Store = open()
	b.Cleanup(func() {
		if err := cold.Close(); err != nil {
			b.Error(err)
		}
	})
	return cold
}

// checkAll checks a request with each key, none of which is cached, atOnce of them at a
// time.
func (s *coldStore) checkAll(b testing.TB, atOnce int) {
	b.Helper()
	a, err := authn.New(s, 2*len(s.requests), time.Now, zap.NewNop())
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	policy := &authn.Policy{ReadMethods: []string{http.MethodGet}}
	var callers sync.WaitGroup
	for some := range slices.Chunk(s.requests, len(s.requests)/atOnce) {
		callers.Go(func() {
			for _, facts := range some {
				if d := a.Check(context.Background(), policy, facts); !d.Allowed() || d.Lookup != authn.Miss {
					b.Errorf("got %q by %q, want a key that is allowed, and not cached", d.Result, d.Lookup)
					return
				}
			}
		})
	}
	callers.Wait()
}

// TestCold_allocations: a request with a key that is not cached costs fewer than 21
// allocations on average, of which Badger makes 16.
func TestCold_allocations(t *testing.T) {
	const keys = 500
	s := newColdStore(t, keys)
	if got := testing.AllocsPerRun(1, func() { s.checkAll(t, 1) }) / keys; got >= 21 {
		t.Errorf("got %.1f allocations, want fewer than 21", got)
	}
}

// BenchmarkCold measures a check of a key that is not cached, and what looking up its whole
// record takes instead, in CPU time: the machine may be busy with other work. With one
// check at a time, some of that is Go looking for work for the processors that have none.
func BenchmarkCold(b *testing.B) {
	const keys = 10_000
	s := newColdStore(b, keys)
	measure := func(name string, all func(*testing.B)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			begun, runs := cpuTime(b), 0
			for b.Loop() {
				all(b)
				runs++
			}
			b.ReportMetric(float64(cpuTime(b)-begun)/float64(runs*keys), "cpu-ns/key")
		})
	}
	measure("check", func(b *testing.B) { s.checkAll(b, 1) })
	measure("check, 8 at once", func(b *testing.B) { s.checkAll(b, 8) })
	measure("grant", func(b *testing.B) {
		for _, digest := range s.digests {
			if _, err := s.Grant(digest); err != nil {
				b.Fatal(err)
			}
		}
	})
	measure("lookup", func(b *testing.B) {
		for _, digest := range s.digests {
			if _, err := s.Lookup(digest); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// cpuTime returns what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
