package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/caddymodule/cli"
	"github.com/agiled/caddy-api-keys/internal/fleet"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// mover moves the stores of stopped gateways into fleets and out of them, for the command
// line.
type mover struct{}

// Import moves a store of its own into the fleet of a configuration.
func (mover) Import(ctx context.Context, config []byte, path string, progress cli.Progress) (_ cli.Imported, err error) {
	o, err := configuredFleet(config)
	if err != nil {
		return cli.Imported{}, err
	}
	s, err := openToMove(path)
	if err != nil {
		return cli.Imported{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	done, err := fleet.Import(ctx, o, s, fleet.Progress(progress))
	return cli.Imported{
		Prefix: o.Prefix, Path: s.Path(), Already: done.Already, Discarded: done.Discarded,
		Keys: done.Keys, Events: done.Events, Records: done.Records,
	}, err
}

// Detach makes the replica of a gateway a store of its own, and ends its fleet.
func (mover) Detach(ctx context.Context, config []byte, path string) (_ cli.Detached, err error) {
	o, err := configuredFleet(config)
	if err != nil {
		return cli.Detached{}, err
	}
	s, err := openToMove(path)
	if err != nil {
		return cli.Detached{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	already, err := fleet.Detach(ctx, o, s)
	return cli.Detached{Prefix: o.Prefix, Path: s.Path(), Already: already}, err
}

// openToMove opens a store in which no restore is unfinished.
func openToMove(path string) (*store.Store, error) {
	if err := store.Owned(path); err != nil {
		return nil, err
	}
	s, err := store.OpenToMove(path)
	if err != nil {
		return nil, err
	}
	madeAt, err := s.Restoring()
	if err == nil && !madeAt.IsZero() {
		err = fmt.Errorf("a restore into %q was interrupted, and keys are missing: restore the same backup again first", s.Path())
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// configuredFleet returns the options of the fleet that a configuration, in JSON, belongs to.
func configuredFleet(config []byte) (fleet.Options, error) {
	var parsed struct {
		Apps struct {
			Keys App `json:"api_keys"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		return fleet.Options{}, fmt.Errorf("reading the configuration: %w", err)
	}
	configured := &parsed.Apps.Keys.Store
	if configured.Module != etcdStore {
		return fleet.Options{}, errors.New("the configuration has no store etcd: --config names the configuration of the fleet's gateways")
	}
	o, err := configured.fleetOptions()
	if err == nil {
		err = configured.EtcdStore.check()
	}
	if err != nil {
		return fleet.Options{}, fmt.Errorf("the configuration: %w", err)
	}
	return o.forFleet(zap.NewNop()), nil
}

var _ cli.Mover = mover{}
