package caddymodule

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_requests_total",
		Help: "Requests judged, by result, by what they wanted to do, and by the access of the key once its token had matched.",
	}, []string{"result", "action", "access"})

	cacheLookups = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_cache_lookups_total",
		Help: "Look-ups of well-formed tokens, by whether the key was in memory.",
	}, []string{"outcome"})

	// A check takes less than a microsecond with a key in memory, some more with
	// one on the disk, and seconds where the disk hangs. The native histogram
	// tells all of these apart, to a tenth; the buckets are for a Prometheus that
	// takes none.
	checkDuration = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "caddy_api_keys_check_duration_seconds",
		Help: "How long it took to judge a request, without what came before and after.",
		Buckets: []float64{
			100e-9, 250e-9, 500e-9, 1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6,
			100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3,
		},
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramMaxBucketNumber: 160, // of the 200 or so between 100 ns and the longest wait for the store
	})
)

// requestLabels are the labels of the counter of a decision.
type requestLabels struct {
	result authn.Result
	action authn.Action
	access apikey.Preset
}

// requestCounters holds every counter that a decision can count: looking one up
// in a map costs a tenth of asking the vector for it. That they exist from the
// beginning lets rate() see the first increment of each.
var requestCounters = func() map[requestLabels]prometheus.Counter {
	counters := make(map[requestLabels]prometheus.Counter)
	for _, result := range authn.Results() {
		for _, action := range []authn.Action{authn.Read, authn.Write} {
			for _, access := range []apikey.Preset{"", apikey.FullAccess, apikey.ReadOnly} {
				labels := requestLabels{result, action, access}
				if possible(labels) {
					counters[labels] = requests.WithLabelValues(string(result), string(action), string(access))
				}
			}
		}
	}
	return counters
}()

// possible reports whether a decision can have the labels: there is an access
// exactly where the token was found to be a key's.
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

var (
	cacheHits   = cacheLookups.WithLabelValues(string(authn.Hit))
	cacheMisses = cacheLookups.WithLabelValues(string(authn.Miss))
)

// processStart is what durations are measured from: to read the monotonic clock
// alone takes half the time of time.Now.
var processStart = time.Now()

// count records a decision, and how long it took.
func count(d *authn.Decision, took time.Duration) {
	labels := requestLabels{result: d.Result, action: d.Action}
	if d.Key != nil {
		labels.access = d.Key.Preset
	}
	if counter, ok := requestCounters[labels]; ok {
		counter.Inc()
	}
	switch d.Lookup {
	case authn.Hit:
		cacheHits.Inc()
	case authn.Miss:
		cacheMisses.Inc()
	case authn.Failed:
		cacheMisses.Inc()
		lookupErrors.Inc()
	}
	checkDuration.Observe(took.Seconds())
}
