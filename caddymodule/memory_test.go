package caddymodule

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// BenchmarkMemory measures the live heap of a gateway that has 100,000 keys in use, each
// with a limit, and with its last use and its usage noted. There are no connections. It
// takes two minutes: MEMORY=1 go test ./caddymodule -run=- -bench=Memory.
func BenchmarkMemory(b *testing.B) {
	if os.Getenv("MEMORY") == "" {
		b.Skip("takes two minutes: set MEMORY")
	}
	perMinute := func(n int) *RateLimit { return &RateLimit{Requests: n, Window: caddy.Duration(time.Minute)} }
	limits := RateLimits{Read: perMinute(60), Write: perMinute(30)}
	for b.Loop() {
		h, _ := handlerOn(b, Store{}, caddyconfig.JSON(Auth{RateLimit: limits}, nil))
		useKeys(b, h, 100_000)
		b.ReportMetric(float64(settledHeap())/1e6, "MB")
		runtime.KeepAlive(h)
	}
}

// useKeys creates keys, and uses each of them twice.
func useKeys(b *testing.B, h *Auth, keys int) {
	const atOnce = 100
	var tokens []string
	for n := range keys / atOnce {
		var some []apikey.Change
		for range atOnce {
			k := newKey(apikey.FullAccess)
			k.WorkspaceID = fmt.Sprintf("workspace-%d", n)
			tokens = append(tokens, k.token)
			some = append(some, apikey.Change{EventID: apikey.NewEventID(k.CreatedAt), At: k.CreatedAt, Actor: "test", Do: apikey.Create{Key: k.Key}})
		}
		if _, err := h.app.instance(context.Background()).store.ApplyAll(context.Background(), some); err != nil {
			b.Fatal(err)
		}
	}
	for range 2 {
		for _, token := range tokens {
			newExchange(token).send(b, h)
		}
		time.Sleep(2 * usageInterval) // until its uses have been noted
	}
}

// settledHeap returns the live heap once Badger has freed the buffers in which it made
// tables: one in two seconds, of eight at most.
func settledHeap() int64 {
	time.Sleep(20 * time.Second)
	for range 2 { // the second collection frees what the first one found in pools
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
