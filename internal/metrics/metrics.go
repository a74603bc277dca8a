// Package metrics holds the gateway's Prometheus collectors.
//
// They belong to the process, not to a configuration: no reload, accepted or
// rejected, resets a counter. No label has a value that a client can choose, so
// a flood of requests adds no series.
package metrics

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Metrics are the metrics of one process.
type Metrics struct {
	requests   *requests
	operations *prometheus.CounterVec
	reports    *prometheus.CounterVec
	store      *StoreErrors
	fleet      *fleetCollector
	webhooks   *webhookCollector
	collectors []prometheus.Collector
}

// Config is what Metrics are made from. Every field must be set.
type Config struct {
	// Operations are the operations of the admin API, and Outcomes those of their
	// outcomes that alerts look for.
	Operations, Outcomes []string
	// Reports are the outcomes of reports of leaked tokens.
	Reports []string
	// Deliveries are the outcomes of tries to deliver messages to webhooks.
	Deliveries []string
	// Running describes the gateway that is running at the time of a scrape.
	Running interface {
		Gateway
		Fleet
		Webhooks
	}
	Log *zap.Logger
}

// New returns metrics with every counter at zero.
func New(config Config) *Metrics {
	m := &Metrics{
		requests: newRequests(), operations: newOperations(config.Operations, config.Outcomes), reports: newReports(config.Reports),
		store: newStoreErrors(), fleet: newFleetCollector(config.Running), webhooks: newWebhookCollector(config.Running, config.Deliveries),
	}
	m.requests.lookupErrors = m.store.total.WithLabelValues(string(Lookup))
	m.collectors = []prometheus.Collector{
		m.requests.total, m.requests.cacheLookups, m.requests.duration,
		m.operations, m.reports, m.store.total, changes{config.Running},
		newInventoryCollector(config.Running.Inventory, m.store, config.Log),
		m.fleet, m.webhooks,
	}
	return m
}

// Register adds the metrics to the registry of a configuration. Adding them to a
// registry that has them does nothing.
func (m *Metrics) Register(registry prometheus.Registerer) error {
	for _, collector := range m.collectors {
		err := registry.Register(collector)
		if _, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !registered {
			return err
		}
	}
	return nil
}

// Store returns the counters of the key store's failures.
func (m *Metrics) Store() *StoreErrors { return m.store }

// CountOperation counts a call of the admin API by its outcome: ok, or the code
// of its error.
func (m *Metrics) CountOperation(operation, outcome string) {
	m.operations.WithLabelValues(operation, outcome).Inc()
}

// newOperations returns a counter with a series for each operation and each of
// the given outcomes, so that rate() sees the first occurrence. Other outcomes
// get their series when they first occur: a series for every code of every call
// would be too many.
func newOperations(operations, outcomes []string) *prometheus.CounterVec {
	counters := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_admin_operations_total",
		Help: "Calls to the admin API, by operation and by outcome: ok, or the code of the error.",
	}, []string{"operation", "outcome"})
	for _, operation := range operations {
		for _, outcome := range outcomes {
			counters.WithLabelValues(operation, outcome)
		}
	}
	return counters
}

// CountReport counts a report of leaked tokens by its outcome.
func (m *Metrics) CountReport(outcome string) { m.reports.WithLabelValues(outcome).Inc() }

func newReports(outcomes []string) *prometheus.CounterVec {
	counters := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_leak_reports_total",
		Help: "Reports of tokens that were found in public, by outcome: ok, or why they were refused.",
	}, []string{"outcome"})
	for _, outcome := range outcomes {
		counters.WithLabelValues(outcome)
	}
	return counters
}

var changesDesc = prometheus.NewDesc("caddy_api_keys_changes_available",
	"Whether keys can be created and revoked now: 1, or 0 if the store accepts no changes. Requests are checked in both cases.", nil, nil)

// changes says whether keys can be changed. It is not part of the inventory,
// because it matters most when the store cannot be counted.
type changes struct{ gateway Gateway }

// Describe implements prometheus.Collector.
func (changes) Describe(descs chan<- *prometheus.Desc) { descs <- changesDesc }

// Collect implements prometheus.Collector. Without a store there is no sample.
func (c changes) Collect(metrics chan<- prometheus.Metric) {
	available, ok := c.gateway.ChangesAvailable()
	if !ok {
		return
	}
	value := 0.0
	if available {
		value = 1
	}
	metrics <- prometheus.MustNewConstMetric(changesDesc, prometheus.GaugeValue, value)
}
