package store

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// heapMeter is a context that measures the live heap while work on many records
// asks, with each record, whether it was cancelled.
type heapMeter struct {
	context.Context
	every int // records

	mu    sync.Mutex
	asked int
	most  int64
}

func (m *heapMeter) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked++; m.asked%m.every == 0 {
		m.most = max(m.most, liveHeap())
	}
	return m.Context.Err()
}

func liveHeap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestMemory: backup and doctor hold no records in memory. The bound is two fifths of what
// it would take to hold the lines of a backup, and more than twice what Badger's own memory
// varies by.
func TestMemory(t *testing.T) {
	const few, many, perKey = 1_000, 7_000, 130
	small, large := heapOfLongWork(t, few), heapOfLongWork(t, many)
	for work, heap := range large {
		grown := (heap - small[work]) / (many - few)
		t.Logf("%s: %d KiB with %d keys, %d KiB with %d: %d bytes per key", work, small[work]>>10, few, heap>>10, many, grown)
		if grown > perKey {
			t.Errorf("%s takes %d bytes of memory per key, want %d at most", work, grown, perKey)
		}
	}
}

// heapOfLongWork returns by how much the live heap grows during each kind of work on a
// store with n keys.
func heapOfLongWork(t *testing.T, n int) map[string]int64 {
	heap := make(map[string]int64)
	measure := func(work string, do func(context.Context) error) {
		before := liveHeap()
		m := &heapMeter{Context: t.Context(), every: n / 4}
		if err := do(m); err != nil {
			t.Fatalf("%s: got error %v, want none", work, err)
		}
		if m.most == 0 {
			t.Fatalf("%s: asked %d times whether it was cancelled, for %d keys", work, m.asked, n)
		}
		heap[work] = m.most - before
	}
	now := start.Add(time.Hour)
	s := openNew(t)
	s.Alone()
	keys := make([]apikey.Key, n)
	for i := range keys {
		keys[i] = newKey(fmt.Sprintf("workspace-%d", i%100), fmt.Sprintf("Warehouse sync %d", i), start)
	}
	putKeys(t, s, keys)
	s = reopen(t, s) // which writes what Badger has in memory
	s.Alone()
	// What the journal has since its last snapshot, which is bounded, is held in memory.
	if err := s.db.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	measure("doctor", func(ctx context.Context) error {
		_, err := s.Check(ctx, now)
		return err
	})
	measure("backup", func(ctx context.Context) error {
		file, err := s.Backup(ctx, now)
		if err != nil {
			return err
		}
		defer file.Close()
		_, err = io.Copy(io.Discard, file)
		return err
	})
	closeStore(t, s)
	return heap
}
