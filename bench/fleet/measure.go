package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// figures are those of one fleet.
type figures struct {
	gateways int
	created  spread // from asking one gateway for a key until it has it
	applied  spread // until all gateways have it
	revoked  spread // from asking one gateway to revoke a key until that is confirmed
	perSec   float64
}

// spread describes durations.
type spread struct{ median, p99 time.Duration }

func spreadOf(all []time.Duration) spread {
	slices.Sort(all)
	return spread{all[len(all)/2], all[len(all)*99/100]}
}

// measure measures a fleet of n gateways with some changes of each kind.
func measure(ctx context.Context, dir string, endpoints []string, n, changes int) (figures, error) {
	all, err := startFleet(ctx, dir, endpoints, n)
	if err != nil {
		return figures{}, err
	}
	defer stopFleet(all)
	f := figures{gateways: n}
	var created, applied, revoked []time.Duration
	for i := range changes + changes/10 {
		key := newKey("single", i)
		outcome, begun, took, err := all[0].apply(ctx, apikey.Create{Key: key})
		if err != nil {
			return f, err
		}
		last := begun
		for _, g := range all {
			at, err := g.appliedAt(ctx, outcome.Propagation.Revision)
			if err != nil {
				return f, err
			}
			last = later(last, at)
		}
		end, _, waited, err := all[0].apply(ctx, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID})
		switch {
		case err != nil:
			return f, err
		case !end.Propagation.Confirmed || end.Propagation.Gateways != n:
			return f, fmt.Errorf("the revocation is not confirmed by all: %+v", end.Propagation)
		case i < changes/10:
			continue // warming up
		}
		created, applied, revoked = append(created, took), append(applied, last.Sub(begun)), append(revoked, waited)
	}
	f.created, f.applied, f.revoked = spreadOf(created), spreadOf(applied), spreadOf(revoked)
	f.perSec, err = throughput(ctx, all, 4*changes)
	return f, err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// writers is how many callers ask for changes at the same time.
const writers = 64

// throughput returns how many keys a second are created by many callers, each of which
// asks one of the gateways.
func throughput(ctx context.Context, all []*gateway, keys int) (float64, error) {
	g, ctx := errgroup.WithContext(ctx)
	var mu sync.Mutex
	next := 0
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next, next <= keys
	}
	begun := time.Now()
	for w := range writers {
		g.Go(func() error {
			for {
				i, more := take()
				if !more {
					return nil
				}
				if _, _, _, err := all[w%len(all)].apply(ctx, apikey.Create{Key: newKey(fmt.Sprintf("many-%d", i%100), i)}); err != nil {
					return err
				}
			}
		})
	}
	err := g.Wait()
	return float64(keys) / time.Since(begun).Seconds(), err
}

func newKey(workspace string, number int) apikey.Key {
	now := time.Now().UTC().Truncate(time.Millisecond)
	token := apikey.NewToken("agk")
	return apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: workspace, Name: fmt.Sprintf("Warehouse sync - production %d", number),
		Owner: "Operations", Preset: apikey.FullAccess, Digest: token.Digest(), TokenHint: token.Hint(),
		CreatedAt: now, CreatedBy: "bench", ExpiresAt: now.Add(90 * 24 * time.Hour),
	}
}
