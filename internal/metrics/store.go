package metrics

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// StoreOperation is what the key store was asked to do when it failed.
type StoreOperation string

const (
	Lookup   StoreOperation = "lookup"    // find the key of a request
	Change   StoreOperation = "change"    // change a key or a workspace
	Read     StoreOperation = "read"      // read for the admin API
	LastUsed StoreOperation = "last_used" // write when keys were last used
	Usage    StoreOperation = "usage"     // write how often keys were used
	Clock    StoreOperation = "clock"     // read or write the time
	Forget   StoreOperation = "forget"    // move or delete what has ended
	Census   StoreOperation = "census"    // count the keys for a scrape
)

// StoreErrors counts the failures of the key store.
type StoreErrors struct{ total *prometheus.CounterVec }

func newStoreErrors() *StoreErrors {
	e := &StoreErrors{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "caddy_api_keys_store_errors_total",
		Help: "Failed operations of the key store, by operation.",
	}, []string{"operation"})}
	for _, operation := range []StoreOperation{Lookup, Change, Read, LastUsed, Usage, Clock, Forget, Census} {
		e.total.WithLabelValues(string(operation))
	}
	return e
}

// Count counts err if it is a failure of the store. A refusal is none, nor is an
// operation whose caller has gone.
func (e *StoreErrors) Count(ctx context.Context, operation StoreOperation, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, apikey.ErrStoreUnavailable) || errors.Is(err, apikey.ErrNoSpace) {
		e.total.WithLabelValues(string(operation)).Inc()
	}
}
