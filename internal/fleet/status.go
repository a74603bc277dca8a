package fleet

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// statusPatience is how long Status waits for etcd.
const statusPatience = 2 * attemptTimeout

// Status returns the state of the fleet, and asks etcd for its latest change and for the
// gateways. If etcd does not answer within a few seconds, it is what Known returns, with
// that as the problem.
func (f *Fleet) Status(ctx context.Context) apikey.FleetStatus {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	err := f.ask(ctx)
	status := f.Known()
	if err != nil && status.Problem == "" {
		status.Problem = oneLine(err)
	}
	return status
}

// ask asks etcd for what Known returns about it.
func (f *Fleet) ask(ctx context.Context) error {
	e := f.connection()
	head, _, err := e.readHead(ctx)
	if err == nil && head.sealed != nil {
		f.latest.Store(&head.Head)
	}
	if ctx.Err() != nil {
		return err
	}
	return cmp.Or(err, f.registry.read(ctx, e))
}

// Known returns the state of the fleet as far as this gateway knows it, without asking
// anybody. What it says about etcd is at most a quarter of Options.MaxStaleness old, unless
// there is a problem.
func (f *Fleet) Known() apikey.FleetStatus {
	o := f.options.Load()
	at, _ := f.progress.now()
	newest := at.Head
	if latest := f.latest.Load(); latest != nil && latest.Seq > at.Seq {
		newest = *latest
	}
	status := apikey.FleetStatus{
		Prefix: o.Prefix, Name: o.Name, Mode: o.mode(), Committed: newest.Seq, Applied: at.Seq, LastEnd: newest.LastEnd,
		Lease: max(f.lease.remaining(), 0), Heard: f.lease.from(), Problem: f.Problem(),
		Lost: f.reconciling.lost.Load(),
	}
	if why := f.problem.Load(); why != nil {
		status.NoRoom = errors.Is(*why, rpctypes.ErrNoSpace)
	}
	if id := f.id.Load(); id != nil {
		status.Gateway = *id
	}
	if status.Lease == 0 {
		status.Problem = f.reason()
	}
	if space := f.space.Load(); space != nil {
		status.Space = *space
	}
	status.Gateways, status.GatewaysHeard = f.registry.status()
	return status
}

// status returns what is known about the gateways, in the order of their names, and since
// when.
func (r *registry) status() ([]apikey.GatewayStatus, time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]apikey.GatewayStatus, 0, len(r.gateways))
	for id, g := range r.gateways {
		if g.State == "" {
			all = append(all, apikey.GatewayStatus{ID: id, State: apikey.GatewayUnreadable})
			continue
		}
		one := apikey.GatewayStatus{
			ID: id, Name: g.Name, Mode: g.Mode, State: g.State, Version: g.Version,
			StartedAt: time.UnixMilli(g.StartedMS).UTC(), Acknowledged: g.Acknowledged, Lease: g.lease(),
		}
		if ahead, known := r.ahead[id]; known {
			one.Ahead = &ahead
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b apikey.GatewayStatus) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.ID, b.ID))
	})
	return all, r.heard
}
