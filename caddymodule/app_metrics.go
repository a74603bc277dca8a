package caddymodule

import (
	"context"
	"errors"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/delivery"
	"github.com/agiled/caddy-api-keys/internal/leaks"
	"github.com/agiled/caddy-api-keys/internal/metrics"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// collectors are the metrics of this process. Each configuration registers them,
// and none owns them.
var collectors = metrics.New(metrics.Config{
	Operations: admin.Operations(),
	Outcomes:   []string{admin.OK, apikey.ErrStoreUnavailable.Code, apikey.ErrNoSpace.Code},
	Reports:    leaks.Outcomes(),
	Deliveries: delivery.Outcomes(),
	Running:    runningGateway{},
	Log:        reloadSafe(caddy.Log().Named(appName)),
})

// runningGateway describes the gateway of the running configuration.
type runningGateway struct{}

var errUnmeasured = errors.New("the directory of the key store cannot be read")

// Inventory implements metrics.Gateway.
func (runningGateway) Inventory(ctx context.Context) (metrics.Inventory, error) {
	i := runningInstance()
	if i == nil {
		return metrics.Inventory{}, metrics.ErrNotRunning
	}
	census, err := i.store.Census(ctx, i.clock.Now())
	if err != nil {
		return metrics.Inventory{}, err
	}
	size := i.store.Size()
	if size == (store.Size{}) { // an open store has some size
		return metrics.Inventory{}, errUnmeasured
	}
	inUse, err := i.expiringInUse.Latest(ctx)
	return metrics.Inventory{
		Keys: census.Keys, ExpiringKeys: census.Expiring, ExpiringKeysInUse: inUse,
		SuspendedWorkspaces: census.SuspendedWorkspaces, RateLimitedKeys: i.authn.RateLimited(),
		ClockOffset: i.clock.Read().Offset(),
		StoreTables: size.Tables, StoreLog: size.Log, StoreFree: size.Free,
	}, err
}

// ChangesAvailable implements metrics.Gateway.
func (runningGateway) ChangesAvailable() (available, ok bool) {
	i := runningInstance()
	if i == nil {
		return false, false
	}
	return i.store.Unchangeable() == "", true
}

// Fleet implements metrics.Fleet.
func (runningGateway) Fleet() (status apikey.FleetStatus, belongs bool) {
	i := runningInstance()
	if i == nil || i.fleet == nil {
		return status, false
	}
	return i.fleet.Known(), true
}
