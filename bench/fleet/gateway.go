package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/fleet"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// gateway is a gateway without its HTTP server: a replica on disk that follows a fleet.
type gateway struct {
	*fleet.Fleet
	replica replica
}

// replica notes when it has applied each change.
type replica struct {
	*store.Store
	mu      *sync.Mutex
	applied map[uint64]time.Time // by the number of the change
}

func (r replica) BeginReload(ctx context.Context) (fleet.Reload, error) {
	return r.Store.BeginReload(ctx)
}

func (r replica) BeginComparison(most int) (fleet.Comparison, error) {
	return r.Store.BeginComparison(most)
}

func (r replica) Replay(ctx context.Context, from, to apikey.Position, records []apikey.Record) error {
	err := r.Store.Replay(ctx, from, to, records)
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for change := from.Seq + 1; change <= to.Seq; change++ {
		r.applied[change] = now
	}
	return err
}

// startFleet starts n gateways with empty replicas, and waits until all of them serve.
func startFleet(ctx context.Context, dir string, endpoints []string, n int) (all []*gateway, err error) {
	defer func() {
		if err != nil {
			stopFleet(all)
		}
	}()
	prefix := fmt.Sprintf("/bench-%d/", n)
	for i := range n {
		g := &gateway{replica: replica{mu: new(sync.Mutex), applied: make(map[uint64]time.Time)}}
		g.replica.Store, err = store.OpenReplica(filepath.Join(dir, prefix, fmt.Sprint(i)), prefix, zap.NewNop(), nil)
		if err != nil {
			return all, err
		}
		g.replica.Alone()
		g.Fleet, err = fleet.Open(fleet.Options{
			Endpoints: endpoints, Prefix: prefix, IntegrityKeys: []fleet.IntegrityKey{{1}},
			MaxStaleness: 15 * time.Second, Name: fmt.Sprint(i), Version: "bench", Log: zap.NewNop(),
		}, g.replica)
		if err != nil {
			return all, errors.Join(err, g.replica.Close())
		}
		g.replica.Follow(g.Fleet)
		all = append(all, g)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if serving := countLive(all); serving == n && len(all[0].Known().Gateways) == n {
			return all, nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return all, fmt.Errorf("it does not serve after a minute: %s", all[0].Problem())
		}
	}
}

func countLive(all []*gateway) (live int) {
	for _, g := range all {
		if g.Live() {
			live++
		}
	}
	return live
}

func stopFleet(all []*gateway) {
	for _, g := range all {
		g.Close()
		_ = g.replica.Close()
	}
}

// apply makes a change, and returns how long that took.
func (g *gateway) apply(ctx context.Context, do apikey.Action) (apikey.Outcome, time.Time, time.Duration, error) {
	begun := time.Now()
	at := begun.UTC().Truncate(time.Millisecond)
	outcome, err := g.replica.Apply(ctx, apikey.Change{EventID: apikey.NewEventID(at), At: at, Actor: "bench", Do: do})
	return outcome, begun, time.Since(begun), err
}

// appliedAt waits until a gateway has applied a change, and returns when it had.
func (g *gateway) appliedAt(ctx context.Context, change uint64) (time.Time, error) {
	for ; ctx.Err() == nil; time.Sleep(time.Millisecond) {
		g.replica.mu.Lock()
		at, applied := g.replica.applied[change]
		g.replica.mu.Unlock()
		if applied {
			return at, nil
		}
	}
	return time.Time{}, ctx.Err()
}
