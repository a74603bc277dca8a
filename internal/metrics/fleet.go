package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Fleet is what a scrape asks of a gateway that may belong to a fleet. It must not wait
// for the network.
type Fleet interface {
	// Fleet returns what the gateway knows of its fleet. It does not belong to one if it
	// has a store of its own.
	Fleet() (status apikey.FleetStatus, belongs bool)
}

var (
	gatewaysDesc = prometheus.NewDesc("caddy_api_keys_fleet_gateways",
		"Gateways of the fleet that are registered as serving.", nil, nil)
	revisionDesc = prometheus.NewDesc("caddy_api_keys_fleet_revision",
		"The number of the latest change that is known to be committed, and of the latest that this gateway has applied.", []string{"which"}, nil)
	leaseDesc = prometheus.NewDesc("caddy_api_keys_fleet_lease_remaining_seconds",
		"How long this gateway may serve without further contact with its fleet; 0 if it refuses all requests.", nil, nil)
	spaceDesc = prometheus.NewDesc("caddy_api_keys_fleet_etcd_bytes",
		"How much the fullest member of etcd uses of its quota, and the quota.", []string{"which"}, nil)
	skewDesc = prometheus.NewDesc("caddy_api_keys_fleet_clock_skew_seconds",
		"How far the clock of the serving gateway whose clock differs most is ahead of this gateway's; below zero if it is behind.", nil, nil)
)

// fleetCollector has the metrics of a fleet, and none for a store of its own.
type fleetCollector struct {
	gateway Fleet
	revoke  prometheus.Histogram
	pending prometheus.Counter
}

func newFleetCollector(gateway Fleet) *fleetCollector {
	return &fleetCollector{gateway, prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "caddy_api_keys_fleet_revoke_seconds",
		Help:    "How long it took, after a change that takes access away, until all gateways had confirmed it.",
		Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60},
	}), prometheus.NewCounter(prometheus.CounterOpts{
		Name: "caddy_api_keys_fleet_revoke_pending_total",
		Help: "Changes that take access away and were answered as pending: some gateway may still allow what they took away.",
	})}
}

// Describe implements prometheus.Collector.
func (c *fleetCollector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{gatewaysDesc, revisionDesc, leaseDesc, spaceDesc, skewDesc} {
		descs <- desc
	}
	c.revoke.Describe(descs)
	c.pending.Describe(descs)
}

// Collect implements prometheus.Collector.
func (c *fleetCollector) Collect(metrics chan<- prometheus.Metric) {
	status, belongs := c.gateway.Fleet()
	if !belongs {
		return
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	serving, skew := 0, (*time.Duration)(nil)
	for _, g := range status.Gateways {
		if g.State != apikey.GatewayServing {
			continue
		}
		serving++
		if g.Ahead != nil && (skew == nil || g.Ahead.Abs() > skew.Abs()) {
			skew = g.Ahead
		}
	}
	gauge(gatewaysDesc, float64(serving))
	gauge(revisionDesc, float64(status.Committed), "committed")
	gauge(revisionDesc, float64(status.Applied), "applied")
	gauge(leaseDesc, status.Lease.Seconds())
	if status.Space.Quota > 0 {
		gauge(spaceDesc, float64(status.Space.Used), "used")
		gauge(spaceDesc, float64(status.Space.Quota), "quota")
	}
	if skew != nil {
		gauge(skewDesc, skew.Seconds())
	}
	c.revoke.Collect(metrics)
	c.pending.Collect(metrics)
}

// CountRevoke counts a change that takes access away, and how long it waited for the other
// gateways. Changes that waited for nobody are left out.
func (m *Metrics) CountRevoke(p apikey.Propagation) {
	switch {
	case p.Waited <= 0:
	case p.Confirmed:
		m.fleet.revoke.Observe(p.Waited.Seconds())
	default:
		m.fleet.pending.Inc()
	}
}
