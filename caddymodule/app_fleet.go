package caddymodule

import (
	"context"
	"fmt"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/fleet"
	"github.com/agiled/caddy-api-keys/internal/metrics"
	"github.com/agiled/caddy-api-keys/internal/store"
	"github.com/agiled/caddy-api-keys/internal/version"
)

// replica is a store that follows a fleet.
type replica struct{ *store.Store }

func (r replica) BeginReload(ctx context.Context) (fleet.Reload, error) {
	return r.Store.BeginReload(ctx)
}

func (r replica) BeginComparison(most int) (fleet.Comparison, error) {
	return r.Store.BeginComparison(most)
}

// forFleet returns the options as the package fleet takes them.
func (o *fleetOptions) forFleet(log *zap.Logger) fleet.Options {
	keys := make([]fleet.IntegrityKey, len(o.integrityKeys))
	for i, key := range o.integrityKeys {
		keys[i] = key
	}
	return fleet.Options{
		Endpoints: o.endpoints, Username: o.username, Password: o.password, TLS: o.tls, Prefix: o.prefix,
		IntegrityKeys: keys, Static: o.static, MaxStaleness: o.maxStaleness,
		Name: o.name, Version: version.Get(), Log: log,
	}
}

// openStore opens the store at path: one of its own, or the replica of a fleet.
func (i *instance) openStore(path string, o *fleetOptions) (*store.Store, error) {
	if o == nil {
		return store.Open(path, i.log, i.changed)
	}
	return store.OpenReplica(path, o.prefix, i.log, i.changed)
}

// joinFleet has the instance take part in its fleet, if it belongs to one.
func (i *instance) joinFleet() error {
	o := i.settings.Load().fleet
	if o == nil {
		return nil
	}
	options := o.forFleet(i.log.Named("fleet"))
	options.Serving = i.authn.Share
	joined, err := fleet.Open(options, replica{i.store.store})
	if err != nil {
		return err
	}
	i.fleet, i.store.fleet = joined, joined
	i.store.store.Follow(joined)
	i.authn.Require(joined)
	return nil
}

// adoptFleet applies the options of a newer configuration. The kind of a store and the
// prefix of its fleet cannot change while it is open.
func (i *instance) adoptFleet(o *fleetOptions) error {
	switch {
	case i.fleet == nil && o == nil:
		return nil
	case i.fleet == nil:
		return fmt.Errorf("the store at %q is open as a store of its own (store badger), so store etcd cannot use it: give store etcd another path", i.store.Path())
	case o == nil:
		return fmt.Errorf("the store at %q is open as the replica of a fleet (store etcd), so store badger cannot use it: give store badger another path", i.store.Path())
	case o.same(i.settings.Load().fleet):
		return nil
	}
	if err := i.fleet.Adopt(o.forFleet(i.log.Named("fleet"))); err != nil {
		return fmt.Errorf("the store at %q: %w", i.store.Path(), err)
	}
	return nil
}

// Filled is asked before a read for people: that a fleet has yet to fill the store is no
// failure of the store.
func (s countedStore) Filled() (_ bool, err error) {
	defer s.count(context.Background(), metrics.Read, &err)
	return s.store.Filled()
}

// checkLease fails if the gateway belongs to a fleet and may not serve. The fleet itself
// logs why.
func (s countedStore) checkLease() error {
	if s.fleet == nil || s.fleet.Live() {
		return nil
	}
	return s.fleet.Refusal()
}

func (s countedStore) Unchangeable() string {
	if s.fleet != nil {
		if why := unchangeable(s.fleet.Known()); why != "" {
			return why
		}
	}
	return s.store.Unchangeable()
}

// unchangeable says why a fleet takes no changes of this gateway, or returns "".
func unchangeable(fleet apikey.FleetStatus) string {
	switch {
	case fleet.Problem != "" && !fleet.NoRoom:
		return "this gateway cannot reach its fleet"
	case fleet.NoRoom, fleet.Space.UsedUp():
		return "the fleet's etcd has reached its quota: it refuses all changes, revocations too, until it has space again"
	case fleet.Space.Full():
		return "the fleet's etcd is full: only revoking and suspending still work"
	}
	return ""
}
