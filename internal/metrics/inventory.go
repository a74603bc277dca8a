package metrics

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Gateway is what a scrape asks of the gateway.
type Gateway interface {
	// Inventory returns what there is now, or ErrNotRunning.
	Inventory(context.Context) (Inventory, error)
	// ChangesAvailable reports whether keys can be changed now. It is not ok if no
	// key store is in use.
	ChangesAvailable() (available, ok bool)
}

// ErrNotRunning says that there is nothing to count.
var ErrNotRunning = errors.New("no key store is in use")

// Inventory is what there is at one instant.
type Inventory struct {
	Keys                map[apikey.Status]map[apikey.Preset]int
	ExpiringKeys        map[time.Duration]int // active keys that end within a time from now
	ExpiringKeysInUse   map[time.Duration]int // those of them that are in use; nil if not known yet
	SuspendedWorkspaces int
	RateLimitedKeys     int // keys that a limit has refused lately
	ClockOffset         time.Duration

	StoreTables, StoreLog uint64 // the size of the store, in bytes
	StoreFree             uint64 // bytes left on its disk; math.MaxUint64 if not known
}

var (
	keysDesc = prometheus.NewDesc("caddy_api_keys_keys",
		"Keys, by status and by what they may do.", []string{"status", "preset"}, nil)
	expiringDesc = prometheus.NewDesc("caddy_api_keys_expiring_keys",
		"Active keys that expire, or will be revoked, within a time from now: a longer time includes the shorter ones.", []string{"within"}, nil)
	expiringInUseDesc = prometheus.NewDesc("caddy_api_keys_expiring_keys_in_use",
		"Those of the expiring keys that were used in the last 7 days and have no active replacement.", []string{"within"}, nil)
	suspendedDesc = prometheus.NewDesc("caddy_api_keys_suspended_workspaces",
		"Workspaces that are suspended.", nil, nil)
	limitedDesc = prometheus.NewDesc("caddy_api_keys_rate_limited_keys",
		"Keys that a limit has refused within the last 5 minutes.", nil, nil)
	sizeDesc = prometheus.NewDesc("caddy_api_keys_store_size_bytes",
		"Disk space that the key store uses, in bytes, by part: its tables, and the log of writes that are not in them yet.", []string{"part"}, nil)
	freeDesc = prometheus.NewDesc("caddy_api_keys_store_free_bytes",
		"Disk space that the process may still use for the key store, in bytes.", nil, nil)
	clockDesc = prometheus.NewDesc("caddy_api_keys_clock_offset_seconds",
		"How far the machine's clock is ahead of the time that is certain to have passed; below zero if it is behind.", nil, nil)
)

// inventoryCollector takes inventory on each scrape. If that fails, it has no
// samples, and never zeros.
type inventoryCollector struct {
	take    func(context.Context) (Inventory, error)
	errors  *StoreErrors
	log     *zap.Logger
	turn    chan struct{} // has an element while inventory is taken
	failing atomic.Bool   // the last scrape failed
}

// inventoryTimeout is how long a scrape waits for the store: half of Prometheus's
// default scrape timeout.
const inventoryTimeout = 5 * time.Second

var errSlow = errors.New("the key store did not answer in time")

func newInventoryCollector(take func(context.Context) (Inventory, error), errors *StoreErrors, log *zap.Logger) *inventoryCollector {
	return &inventoryCollector{take: take, errors: errors, log: log, turn: make(chan struct{}, 1)}
}

// Describe implements prometheus.Collector.
func (*inventoryCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		keysDesc, expiringDesc, expiringInUseDesc, suspendedDesc, limitedDesc, sizeDesc, freeDesc, clockDesc,
	} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (c *inventoryCollector) Collect(metrics chan<- prometheus.Metric) {
	found, err := c.takeInTime()
	if errors.Is(err, ErrNotRunning) {
		return
	}
	if err != nil {
		c.errors.total.WithLabelValues(string(Census)).Inc()
		if !c.failing.Swap(true) { // once, not at every scrape
			c.log.Error("could not count the keys", zap.Error(err))
		}
		return
	}
	c.failing.Store(false)
	found.send(metrics)
}

// takeInTime takes inventory within inventoryTimeout. It does so in a goroutine,
// because disk I/O cannot be interrupted. One that hangs keeps the turn, so that
// no others pile up behind it.
func (c *inventoryCollector) takeInTime() (Inventory, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), inventoryTimeout, errSlow)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return Inventory{}, context.Cause(ctx)
	}
	type answer struct {
		found Inventory
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-c.turn }()
		found, err := c.tryTake(ctx)
		answers <- answer{found, err}
	}()
	select {
	case a := <-answers:
		return a.found, a.err
	case <-ctx.Done():
		return Inventory{}, context.Cause(ctx)
	}
}

// tryTake turns a panic into an error: a metric must not end the process.
func (c *inventoryCollector) tryTake(ctx context.Context) (found Inventory, err error) {
	defer apikey.RecoverStore(&err)
	return c.take(ctx)
}

func (i *Inventory) send(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for status, presets := range i.Keys {
		for preset, n := range presets {
			gauge(keysDesc, float64(n), string(status), string(preset))
		}
	}
	for within, n := range i.ExpiringKeys {
		gauge(expiringDesc, float64(n), withinLabel(within))
	}
	for within, n := range i.ExpiringKeysInUse {
		gauge(expiringInUseDesc, float64(n), withinLabel(within))
	}
	gauge(suspendedDesc, float64(i.SuspendedWorkspaces))
	gauge(limitedDesc, float64(i.RateLimitedKeys))
	gauge(clockDesc, i.ClockOffset.Seconds())
	gauge(sizeDesc, float64(i.StoreTables), "tables")
	gauge(sizeDesc, float64(i.StoreLog), "log")
	if i.StoreFree != math.MaxUint64 {
		gauge(freeDesc, float64(i.StoreFree))
	}
}

// withinLabel formats a duration for the label: 24h, and in days if longer.
func withinLabel(d time.Duration) string {
	const day = 24 * time.Hour
	if d == day {
		return "24h"
	}
	return strconv.Itoa(int(d/day)) + "d"
}
