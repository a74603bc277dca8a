package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Webhooks is what a scrape asks about messages to webhooks. It must not wait for the disk.
type Webhooks interface {
	// Webhooks returns how many messages wait for their delivery, and since when the oldest
	// has waited. It is not ok if no key store is in use.
	Webhooks() (pending int, age time.Duration, ok bool)
}

var (
	webhookPendingDesc = prometheus.NewDesc("caddy_api_keys_webhook_pending",
		"Messages to webhooks that were not received yet; in a fleet, 0 on gateways that do not send.", nil, nil)
	webhookAgeDesc = prometheus.NewDesc("caddy_api_keys_webhook_oldest_pending_seconds",
		"Age of the oldest message to a webhook that was not received yet, to within a minute; 0 if there is none.", nil, nil)
)

// webhookCollector has the metrics of webhooks, zeros if none is configured.
type webhookCollector struct {
	gateway    Webhooks
	deliveries *prometheus.CounterVec
}

// newWebhookCollector returns a collector with a series for each outcome.
func newWebhookCollector(gateway Webhooks, outcomes []string) *webhookCollector {
	c := &webhookCollector{gateway, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_webhook_deliveries_total",
		Help: "Attempts to deliver messages to webhooks, by outcome: received, to be repeated, or given up.",
	}, []string{"outcome"})}
	for _, outcome := range outcomes {
		c.deliveries.WithLabelValues(outcome)
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *webhookCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- webhookPendingDesc
	descs <- webhookAgeDesc
	c.deliveries.Describe(descs)
}

// Collect implements prometheus.Collector.
func (c *webhookCollector) Collect(metrics chan<- prometheus.Metric) {
	c.deliveries.Collect(metrics)
	pending, age, ok := c.gateway.Webhooks()
	if !ok {
		return
	}
	metrics <- prometheus.MustNewConstMetric(webhookPendingDesc, prometheus.GaugeValue, float64(pending))
	metrics <- prometheus.MustNewConstMetric(webhookAgeDesc, prometheus.GaugeValue, age.Seconds())
}

// CountDelivery counts a try to deliver a message, by its outcome.
func (m *Metrics) CountDelivery(outcome string) { m.webhooks.deliveries.WithLabelValues(outcome).Inc() }
