package caddymodule

import "github.com/prometheus/client_golang/prometheus"

var changesDesc = prometheus.NewDesc("caddy_api_keys_changes_available",
	"Whether keys can be made and revoked now: 1, or 0 where the store takes no change. Requests are judged in both cases.", nil, nil)

// changeability is a collector of its own, and no part of the inventory: it is wanted
// most where the store cannot be counted.
type changeability struct{}

// Describe implements prometheus.Collector.
func (changeability) Describe(descs chan<- *prometheus.Desc) { descs <- changesDesc }

// Collect implements prometheus.Collector. Without a store there is no sample.
func (changeability) Collect(metrics chan<- prometheus.Metric) {
	app := runningApp()
	if app == nil {
		return
	}
	g := app.shared.Load()
	if g == nil {
		return
	}
	available := 1.0
	if g.store.Unchangeable() != "" {
		available = 0
	}
	metrics <- prometheus.MustNewConstMetric(changesDesc, prometheus.GaugeValue, available)
}
