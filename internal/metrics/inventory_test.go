package metrics

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// collect returns how many samples a collector has.
func collect(i *inventoryCollector) int {
	samples := make(chan prometheus.Metric, 100)
	i.Collect(samples)
	return len(samples)
}

// TestInventory_slowStore: a scrape waits no longer than inventoryTimeout, further
// scrapes do not pile up behind a disk that hangs, and once it recovers, scrapes
// have samples again.
func TestInventory_slowStore(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		resume := make(chan struct{})
		var asked atomic.Int32
		core, logs := observer.New(zap.DebugLevel)
		i := newInventoryCollector(func(context.Context) (Inventory, error) {
			asked.Add(1)
			<-resume
			return Inventory{}, nil
		}, newStoreErrors(), zap.New(core))
		for range 3 {
			begun := time.Now()
			if got := collect(i); got != 0 {
				t.Errorf("got %d samples from a store that hangs, want none", got)
			}
			if got := time.Since(begun); got != inventoryTimeout {
				t.Errorf("the scrape took %v, want %v", got, inventoryTimeout)
			}
		}
		if asked.Load() != 1 || logs.Len() != 1 {
			t.Errorf("got the store asked %d times and %d lines in the log, want 1 of each", asked.Load(), logs.Len())
		}
		close(resume)
		bubble.Wait()
		if got := collect(i); got == 0 {
			t.Error("got no samples from a store that answers again, want some")
		}
	})
}

// TestInventory_storeFails: after a failure, even a panic, there are no samples,
// and it is logged once until the store has recovered.
func TestInventory_storeFails(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	var take func() (Inventory, error)
	i := newInventoryCollector(func(context.Context) (Inventory, error) { return take() }, newStoreErrors(), zap.New(core))
	for n, test := range []struct {
		take    func() (Inventory, error)
		samples bool
		lines   int // in all
	}{
		{func() (Inventory, error) { return Inventory{}, errors.New("input/output error") }, false, 1},
		{func() (Inventory, error) { panic("out of order") }, false, 1},
		{func() (Inventory, error) { return Inventory{}, nil }, true, 1},
		{func() (Inventory, error) { panic("out of order") }, false, 2},
	} {
		take = test.take
		if got := collect(i); got > 0 != test.samples {
			t.Errorf("%d: got %d samples, want some: %v", n, got, test.samples)
		}
		if got := logs.Len(); got != test.lines {
			t.Errorf("%d: got %d lines in the log, want %d", n, got, test.lines)
		}
	}
	if got := failures(t, i.errors); got != 3 {
		t.Errorf("got %v failures counted, want 3", got)
	}
}

// failures returns how many store failures were counted.
func failures(t *testing.T, errors *StoreErrors) (total float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(errors.total)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range families[0].GetMetric() {
		total += metric.GetCounter().GetValue()
	}
	return total
}
