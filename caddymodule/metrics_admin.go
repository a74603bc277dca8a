package caddymodule

import "github.com/prometheus/client_golang/prometheus"

var adminOperations = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "caddy_api_keys_admin_operations_total",
	Help: "Calls of the admin API, by operation and by outcome: ok, or the code of the error.",
}, []string{"operation", "outcome"})
