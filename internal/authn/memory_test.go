package authn

import (
	"errors"
	"net/http"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// grants is a source of grants that are made when they are asked for, like those that
// are read from a disk.
type grants struct{ source }

func (s *grants) Grant(digest apikey.Digest) (apikey.Grant, error) {
	key, err := s.lookup(digest)
	if err != nil {
		return apikey.Grant{}, err
	}
	return key.Grant(), nil
}

// TestMemory: a hundred thousand keys in use take at most 60 MB of heap, with the limits of
// Caddyfile.example, and clients with addresses.
func TestMemory(t *testing.T) {
	const keys, most = 100_000, 60_000_000 / 100_000
	s := new(grants)
	limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(60, time.Minute), WriteLimit: limitOf(30, time.Minute)}
	requests := make([]*Facts, keys)
	for i := range requests {
		token, key := fullKey()
		key.Name = "Warehouse sync of somebody"
		s.put(key)
		requests[i] = request(http.MethodGet, token)
		requests[i].Client = address("203.0.113.7")
	}
	before := liveHeap()
	a, err := New(s, keys, atEpoch, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for range 2 {
		for _, facts := range requests {
			checkResult(t, "in use", a.Check(t.Context(), limited, facts), Allowed)
		}
		if err := errors.Join(
			a.FlushUses(epoch, time.Minute, func(map[string]apikey.Use) error { return nil }),
			a.FlushUsage(func(map[apikey.KeyDay]apikey.Usage) error { return nil }),
		); err != nil {
			t.Fatal(err)
		}
	}
	a.keys.entries.CleanUp()
	got := (liveHeap() - before) / keys
	t.Logf("%d bytes per key, of which %d in its entry", got, unsafe.Sizeof(entry{}))
	runtime.KeepAlive(requests)
	if got > most {
		t.Errorf("a key in use takes %d bytes of memory, want at most %d", got, most)
	}
}

func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // which frees what the first one finds in pools
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
