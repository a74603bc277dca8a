package caddymodule

import (
	"errors"

	"github.com/caddyserver/caddy/v2"
	"github.com/prometheus/client_golang/prometheus"
)

// The collectors belong to the process, not to a configuration, so that no
// reload, accepted or not, sets a counter back. No label has a value that a
// client can choose: the series are as many after a flood as before it.
var collectors = []prometheus.Collector{
	requests, cacheLookups, checkDuration,
	adminOperations, storeErrors, changeability{},
	newInventory(takeStock, lasting(caddy.Log().Named(appName))),
}

// registerMetrics adds the collectors to the registry of a configuration.
func registerMetrics(registry *prometheus.Registry) error {
	for _, collector := range collectors {
		err := registry.Register(collector)
		if _, registered := errors.AsType[prometheus.AlreadyRegisteredError](err); err != nil && !registered {
			return err
		}
	}
	return nil
}
