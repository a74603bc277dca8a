package caddymodule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// adminOperations has a series for each operation and each outcome that there
// was. Those that somebody is to be woken for are there from the beginning, so
// that rate() sees the first of them; to have them all would be a series for
// every code of every call.
var adminOperations = func() *prometheus.CounterVec {
	counters := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_admin_operations_total",
		Help: "Calls of the admin API, by operation and by outcome: ok, or the code of the error.",
	}, []string{"operation", "outcome"})
	for _, operation := range admin.Operations() {
		for _, outcome := range []string{admin.OK, apikey.ErrStoreUnavailable.Code, apikey.ErrNoSpace.Code} {
			counters.WithLabelValues(operation, outcome)
		}
	}
	return counters
}()

func countOperation(operation, outcome string) {
	adminOperations.WithLabelValues(operation, outcome).Inc()
}
