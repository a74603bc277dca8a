package caddymodule

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// The collectors belong to the process, not to a configuration, so that no
// reload, accepted or not, sets a counter back.
var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_requests_total",
		Help: "Requests judged, by result, by what they wanted to do, and by the access of the key once its token had matched.",
	}, []string{"result", "action", "access"})

	cacheLookups = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_cache_lookups_total",
		Help: "Look-ups of well-formed tokens, by whether the key was in memory.",
	}, []string{"outcome"})

	adminOperations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_admin_operations_total",
		Help: "Calls of the admin API, by operation and by outcome: ok, or the code of the error.",
	}, []string{"operation", "outcome"})
)

// registerMetrics adds the collectors to the registry of a configuration.
func registerMetrics(registry *prometheus.Registry) error {
	for _, collector := range []prometheus.Collector{requests, cacheLookups, adminOperations} {
		err := registry.Register(collector)
		if _, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !registered {
			return err
		}
	}
	return nil
}

// requestLabels are the labels of the counter of a decision.
type requestLabels struct {
	result authn.Result
	action authn.Action
	access apikey.Preset
}

// requestCounters holds every counter that a decision can count: looking one up
// in a map costs a tenth of asking the vector for it.
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

// count records a decision.
func count(d *authn.Decision) {
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
	}
}
