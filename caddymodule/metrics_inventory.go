package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/store"
)

// What an inventory tells.
var (
	keysDesc = prometheus.NewDesc("caddy_api_keys_keys",
		"Keys, by status and by what they may do.", []string{"status", "preset"}, nil)
	expiringDesc = prometheus.NewDesc("caddy_api_keys_expiring_keys",
		"Active keys that expire, or are to be revoked, within a time from now: those of a shorter one are in a longer one too.", []string{"within"}, nil)
	expiringInUseDesc = prometheus.NewDesc("caddy_api_keys_expiring_keys_in_use",
		"Those of the expiring keys that were used in the last 7 days and have no active replacement.", []string{"within"}, nil)
	suspendedDesc = prometheus.NewDesc("caddy_api_keys_suspended_workspaces",
		"Workspaces that are suspended.", nil, nil)
	limitedDesc = prometheus.NewDesc("caddy_api_keys_rate_limited_keys",
		"Keys that a limit has refused within the last 5 minutes.", nil, nil)
	sizeDesc = prometheus.NewDesc("caddy_api_keys_store_size_bytes",
		"What the key store takes on its disk, in bytes, by part: its tables, and the log of what is not in them yet.", []string{"part"}, nil)
	freeDesc = prometheus.NewDesc("caddy_api_keys_store_free_bytes",
		"How much the process may still write on the disk of the key store, in bytes.", nil, nil)
	clockDesc = prometheus.NewDesc("caddy_api_keys_clock_offset_seconds",
		"How far the machine's clock is ahead of the time that is certain to have passed; below zero if it is behind.", nil, nil)
)

// inventory is a collector that counts what there is when it is asked. It
// belongs to the process, and asks the gateway that runs then. If that cannot
// tell, it has no samples, and never a zero.
type inventory struct {
	take    func(context.Context) (stock, error)
	log     *zap.Logger
	turn    chan struct{} // holds something while somebody counts
	failing atomic.Bool   // the last to ask got no answer
}

// stock is what an inventory has found.
type stock struct {
	store.Census
	store.Size
	inUse       map[time.Duration]int // nil where it is not known yet
	rateLimited int
	clockOffset time.Duration
}

// inventoryTimeout is how long a scrape waits for the store: half as long as
// Prometheus waits for the scrape, unless told otherwise.
const inventoryTimeout = 5 * time.Second

var (
	errSlow       = errors.New("the key store did not answer in time")
	errUnmeasured = errors.New("the directory of the key store cannot be read")
)

// errNotRunning says that there is nothing to be counted.
var errNotRunning = errors.New("no key store is in use")

func newInventory(take func(context.Context) (stock, error), log *zap.Logger) *inventory {
	return &inventory{take: take, log: log, turn: make(chan struct{}, 1)}
}

// takeStock asks the running gateway.
func takeStock(ctx context.Context) (stock, error) {
	app := runningApp()
	if app == nil {
		return stock{}, errNotRunning
	}
	g := app.shared.Load()
	if g == nil {
		return stock{}, errNotRunning
	}
	census, err := g.store.Census(ctx, g.clock.Now())
	if err != nil {
		return stock{}, err
	}
	size := g.store.Size()
	if size == (store.Size{}) { // an open store takes something
		return stock{}, errUnmeasured
	}
	inUse, err := g.inUse.latest(ctx)
	return stock{census, size, inUse, g.authn.RateLimited(), g.clock.Read().Offset()}, err
}

// Describe implements prometheus.Collector.
func (*inventory) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		keysDesc, expiringDesc, expiringInUseDesc, suspendedDesc, limitedDesc, sizeDesc, freeDesc, clockDesc,
	} {
		descs <- desc
	}
}

// Collect implements prometheus.Collector.
func (i *inventory) Collect(metrics chan<- prometheus.Metric) {
	found, err := i.ask()
	if errors.Is(err, errNotRunning) {
		return
	}
	if err != nil {
		censusErrors.Inc()
		if !i.failing.Swap(true) { // every scrape would say so
			i.log.Error("counting the keys", zap.Error(err))
		}
		return
	}
	i.failing.Store(false)
	found.send(metrics)
}

// ask takes stock within the time that there is. It does so in a goroutine of
// its own, because a disk cannot be interrupted; one that hangs keeps the turn,
// so that no more of them gather behind it.
func (i *inventory) ask() (stock, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), inventoryTimeout, errSlow)
	defer cancel()
	select {
	case i.turn <- struct{}{}:
	case <-ctx.Done():
		return stock{}, context.Cause(ctx)
	}
	type answer struct {
		found stock
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		defer func() { <-i.turn }()
		found, err := i.tryTake(ctx)
		answers <- answer{found, err}
	}()
	select {
	case a := <-answers:
		return a.found, a.err
	case <-ctx.Done():
		return stock{}, context.Cause(ctx)
	}
}

// tryTake makes an error of a panic: nobody's requests are to end for a metric.
func (i *inventory) tryTake(ctx context.Context) (found stock, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the key store: %v\n%s", p, debug.Stack())
		}
	}()
	return i.take(ctx)
}

func (s *stock) send(metrics chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for status, presets := range s.Keys {
		for preset, n := range presets {
			gauge(keysDesc, float64(n), string(status), string(preset))
		}
	}
	for within, n := range s.Expiring {
		gauge(expiringDesc, float64(n), withinLabel(within))
	}
	for within, n := range s.inUse {
		gauge(expiringInUseDesc, float64(n), withinLabel(within))
	}
	gauge(suspendedDesc, float64(s.SuspendedWorkspaces))
	gauge(limitedDesc, float64(s.rateLimited))
	gauge(clockDesc, s.clockOffset.Seconds())
	gauge(sizeDesc, float64(s.Tables), "tables")
	gauge(sizeDesc, float64(s.Log), "log")
	if s.Free != math.MaxUint64 { // it is known
		gauge(freeDesc, float64(s.Free))
	}
}

// withinLabel writes a time as the label has it: 24h, and whole days from there.
func withinLabel(d time.Duration) string {
	const day = 24 * time.Hour
	if d == day {
		return "24h"
	}
	return strconv.Itoa(int(d/day)) + "d"
}
