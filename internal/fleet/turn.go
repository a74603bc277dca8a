package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Gateways that commit at the same time take turns, by tickets in etcd. Only the
// comparison of the head makes a change safe: tickets save conflicts.

// patience is how long a gateway waits for one that is before it in the queue.
const patience = 250 * time.Millisecond

// waitForTurn waits until no other gateway is first in the queue. It is a courtesy that
// saves conflicts, so it ends after a while, and urgent changes do without it.
func (a *attempt) waitForTurn(ctx context.Context) error {
	if a.urgent {
		return ctx.Err()
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		first, changed := a.fleet.registry.first()
		if first == "" || first == a.ticket {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-deadline.C:
			a.etcd.delete(first) // it has had its time, or is a gateway that has gone
			return ctx.Err()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enterQueue takes a place in the queue after a conflict.
func (a *attempt) enterQueue(ctx context.Context) error {
	a.tries++
	if a.ticket == "" {
		a.ticket = ticketPrefix + *a.fleet.id.Load()
		_, err := a.etcd.write(ctx, nil, []clientv3.Op{clientv3.OpPut(a.etcd.name(a.ticket), "")}, nil)
		if err != nil && !errors.Is(err, errAmbiguous) {
			a.ticket = ""
		}
	}
	return pause(ctx, rand.N(time.Duration(a.tries)*2*time.Millisecond))
}

// leaveQueue gives up the place in the queue.
func (a *attempt) leaveQueue() {
	if a.ticket == "" {
		return
	}
	a.etcd.delete(a.ticket)
	a.ticket = ""
}
