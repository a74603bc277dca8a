package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/bench/dataset"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// spread is the median and the 99th percentile of durations.
type spread struct{ median, p99 time.Duration }

func spreadOf(times []time.Duration) spread {
	slices.Sort(times)
	return spread{times[len(times)/2], times[len(times)*99/100]}
}

// timed measures n calls of a function.
func timed(n int, do func(i int) error) (spread, error) {
	times := make([]time.Duration, n)
	for i := range times {
		begin := time.Now()
		if err := do(i); err != nil {
			return spread{}, err
		}
		times[i] = time.Since(begin)
	}
	return spreadOf(times), nil
}

// operations are the durations of a gateway's operations on its store.
type operations struct{ cold, warm, unknown, list, create, revoke spread }

const (
	checks  = 20_000
	lists   = 2_000
	changes = 500
)

func measureOperations(ctx context.Context, path string, d *dataset.Data) (o operations, err error) {
	var a *authn.Authenticator
	s, err := store.Open(path, zap.NewNop(), func(outcome apikey.Outcome) { a.Changed(outcome) })
	if err != nil {
		return o, err
	}
	defer s.Close()
	if a, err = authn.New(s, 100_000, time.Now, zap.NewNop()); err != nil {
		return o, err
	}
	defer a.Close()
	policy := &authn.Policy{ReadMethods: []string{http.MethodGet}}
	check := func(token apikey.Token, want authn.Result) error {
		decision := a.Check(ctx, policy, &authn.Facts{Method: http.MethodGet, Authorization: []string{"Bearer " + token.Reveal()}})
		if decision.Result != want {
			return fmt.Errorf("a check: got %q, want %q", decision.Result, want)
		}
		return nil
	}
	n := min(checks, len(d.Tokens))
	if o.cold, err = timed(n, func(i int) error { return check(d.Tokens[i], authn.Allowed) }); err != nil {
		return o, err
	}
	if o.warm, err = timed(n, func(i int) error { return check(d.Tokens[i], authn.Allowed) }); err != nil {
		return o, err
	}
	unknown := make([]apikey.Token, checks)
	for i := range unknown {
		unknown[i] = apikey.NewToken(apikey.DefaultPrefix)
	}
	if o.unknown, err = timed(checks, func(i int) error { return check(unknown[i], authn.Unknown) }); err != nil {
		return o, err
	}
	if o.list, err = timed(lists, func(int) error {
		_, _, err := s.Keys(ctx, dataset.WorkspaceID(rand.IntN(d.Workspaces)), apikey.KeyFilter{}, apikey.Page{Limit: 50}, time.Now())
		return err
	}); err != nil {
		return o, err
	}
	return o, measureChanges(ctx, s, d, &o)
}

func measureChanges(ctx context.Context, s *store.Store, d *dataset.Data, o *operations) (err error) {
	apply := func(do apikey.Action) error {
		now := time.Now().Truncate(time.Millisecond)
		_, err := s.Apply(ctx, apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "bench", Do: do})
		return err
	}
	keys := make([]apikey.Key, changes)
	for i := range keys {
		now := time.Now().Truncate(time.Millisecond)
		keys[i] = dataset.Key(rand.IntN(d.Workspaces), 1000+i, apikey.NewToken(apikey.DefaultPrefix), now)
	}
	if o.create, err = timed(changes, func(i int) error { return apply(apikey.Create{Key: keys[i]}) }); err != nil {
		return err
	}
	o.revoke, err = timed(changes, func(i int) error {
		return apply(apikey.Revoke{WorkspaceID: keys[i].WorkspaceID, KeyID: keys[i].ID, Reason: "bench"})
	})
	return err
}
