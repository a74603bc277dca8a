package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// requests are the metrics of the data plane.
type requests struct {
	total        *prometheus.CounterVec
	cacheLookups *prometheus.CounterVec
	duration     *durations

	// byLabels holds every counter that a decision can increment: a look-up in a
	// map costs a tenth of one in the vector. Those of requests that pass need none.
	byLabels map[requestLabels]prometheus.Counter
	allowed  [2][2]prometheus.Counter // by whether it writes, and whether its key may

	cacheHits, cacheMisses, lookupErrors prometheus.Counter
}

// requestLabels are the labels of the counter of a decision.
type requestLabels struct {
	result authn.Result
	action authn.Action
	access apikey.Preset
}

// newRequests returns counters that all exist from the start, so that rate() sees
// the first increment of each.
func newRequests() *requests {
	r := &requests{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_api_keys_requests_total",
			Help: "Requests checked, by result, by action, and by the access of the key once its token has matched.",
		}, []string{"result", "action", "access"}),
		cacheLookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "caddy_api_keys_cache_lookups_total",
			Help: "Look-ups of well-formed tokens, by whether the key was in memory.",
		}, []string{"outcome"}),
		duration: newCheckDuration(),
		byLabels: make(map[requestLabels]prometheus.Counter),
	}
	r.cacheHits = r.cacheLookups.WithLabelValues(string(authn.Hit))
	r.cacheMisses = r.cacheLookups.WithLabelValues(string(authn.Miss))
	for _, result := range authn.Results() {
		for _, action := range []authn.Action{authn.Read, authn.Write} {
			for _, access := range []apikey.Preset{"", apikey.FullAccess, apikey.ReadOnly} {
				labels := requestLabels{result, action, access}
				if possible(labels) {
					r.byLabels[labels] = r.total.WithLabelValues(string(result), string(action), string(access))
				}
				if result == authn.Allowed && access != "" {
					*r.passed(action, access) = r.byLabels[labels]
				}
			}
		}
	}
	return r
}

// newCheckDuration returns a histogram for checks. One takes less than a
// microsecond with the key in memory, a few with it on disk, and seconds when the
// disk hangs. The native histogram distinguishes these to a tenth; the buckets
// are for a Prometheus without native histograms.
func newCheckDuration() *durations {
	return newDurations("caddy_api_keys_check_duration_seconds",
		"How long the check of a request took, without what came before and after it.", checkBuckets)
}

var checkBuckets = []float64{
	100e-9, 250e-9, 500e-9, 1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6,
	100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3,
}

// possible reports whether a decision can have the labels: it has an access
// exactly if the token was that of a key.
func possible(l requestLabels) bool {
	switch l.result {
	case authn.Allowed:
		return l.access == apikey.FullAccess || l.access == apikey.ReadOnly && l.action == authn.Read
	case authn.ReadOnly:
		return l.access == apikey.ReadOnly && l.action == authn.Write
	case authn.Expired, authn.Revoked, authn.Suspended, authn.Browser, authn.RateLimited:
		return l.access != ""
	case authn.EarlyData:
		return l.access == "" && l.action == authn.Write
	}
	return l.access == ""
}

// passed returns where the counter of the requests that pass is.
func (r *requests) passed(action authn.Action, access apikey.Preset) *prometheus.Counter {
	writes, full := 0, 0
	if action == authn.Write {
		writes = 1
	}
	if access == apikey.FullAccess {
		full = 1
	}
	return &r.allowed[writes][full]
}

// counter returns the counter of a decision; nil if it has labels that none should have.
func (r *requests) counter(d *authn.Decision) prometheus.Counter {
	if d.Allowed() {
		return *r.passed(d.Action, d.Key.Preset())
	}
	labels := requestLabels{result: d.Result, action: d.Action}
	if d.Key != nil {
		labels.access = d.Key.Preset()
	}
	return r.byLabels[labels]
}

// CountRequest counts a decision, and how long it took.
func (m *Metrics) CountRequest(d *authn.Decision, took time.Duration) {
	r := m.requests
	if counter := r.counter(d); counter != nil {
		counter.Inc()
	}
	switch d.Lookup {
	case authn.Hit:
		r.cacheHits.Inc()
	case authn.Miss:
		r.cacheMisses.Inc()
	case authn.Failed:
		r.cacheMisses.Inc()
		r.lookupErrors.Inc()
	}
	r.duration.observe(took)
}
