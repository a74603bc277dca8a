package caddymodule

import "github.com/prometheus/client_golang/prometheus"

var storeErrors = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "caddy_api_keys_store_errors_total",
	Help: "Times that the key store could not do what it was asked for, by what that was.",
}, []string{"operation"})

// What the store is asked for.
var (
	lookupErrors   = storeErrors.WithLabelValues("lookup")    // a request wants to be judged
	changeErrors   = storeErrors.WithLabelValues("change")    // a key or a workspace is to be changed
	readErrors     = storeErrors.WithLabelValues("read")      // the admin API wants to show something
	lastUsedErrors = storeErrors.WithLabelValues("last_used") // last uses are to be written
	clockErrors    = storeErrors.WithLabelValues("clock")     // the time is to be noted
	forgetErrors   = storeErrors.WithLabelValues("forget")    // old events are to be deleted
	censusErrors   = storeErrors.WithLabelValues("census")    // a scrape wants to know how many keys there are
)
