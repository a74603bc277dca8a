package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// attempt is one or more tries to commit some changes.
type attempt struct {
	fleet  *Fleet
	etcd   *etcd
	urgent bool
	ticket string // the name of this gateway's place in the queue; "" if it has none
	tries  int
	// unanswered says that a try may have succeeded although it seemed to fail.
	unanswered bool
}

// try plans changes and commits the plan. If it is not done, the fleet has changed in the
// meantime, and it has to be tried again. planned is how many of the changes it was for.
func (a *attempt) try(ctx context.Context, some []*request) (planned int, done bool, err error) {
	f := a.fleet
	on, err := f.progress.reach(ctx, point.current)
	if err != nil {
		return 0, false, fmt.Errorf("this gateway does not follow its fleet: %s", f.reason())
	}
	if err := a.waitForTurn(ctx); err != nil {
		return 0, false, err
	}
	changes := make([]apikey.Change, len(some))
	for i, r := range some {
		changes[i] = r.change
	}
	plan, err := f.replica.Plan(changes, maxRecords)
	if err != nil {
		return 0, false, err
	}
	if !sameChange(plan.On.Head, on.Head) {
		return 0, false, nil // the replica has advanced
	}
	some = some[:len(plan.Results)]
	var committed result
	if len(plan.Records) == 0 {
		committed, done, err = a.verify(ctx, on)
	} else {
		committed, done, err = a.commit(ctx, on, plan)
	}
	if err != nil || !done {
		return 0, false, err
	}
	f.outbox.backlog.Drop(plan.Dropped)
	for i, r := range some {
		own := committed
		own.outcome, own.err = plan.Results[i].Outcome, r.applied(plan.Results[i])
		r.done <- own
	}
	return len(some), true, nil
}

// verify checks that the fleet has not changed since a point.
func (a *attempt) verify(ctx context.Context, on point) (result, bool, error) {
	read, err := a.etcd.read(ctx, clientv3.OpGet(a.etcd.name(headName)), a.etcd.getGateways())
	if err != nil {
		return result{}, false, err
	}
	head, err := a.etcd.headIn(read.Responses[0].GetResponseRange())
	if err != nil {
		return result{}, false, err
	}
	if !sameChange(head.Head, on.Head) {
		return result{}, false, a.catchUp(ctx, head)
	}
	return result{at: on, serving: a.gatewaysIn(read.Responses[1])}, true, nil
}

// commit commits a plan.
func (a *attempt) commit(ctx context.Context, on point, plan apikey.Plan) (result, bool, error) {
	head := next(on.Head, plan)
	headKey := a.etcd.name(headName)
	sealed := string(a.etcd.keys.sealHead(headKey, head))
	then := []clientv3.Op{a.etcd.getGateways(), clientv3.OpPut(headKey, sealed)}
	if a.ticket != "" {
		then = append(then, clientv3.OpDelete(a.etcd.name(a.ticket)))
	}
	for _, r := range slices.Concat(plan.Records, plan.Messages) {
		key := a.etcd.name(recordName(r))
		if r.Value == nil {
			then = append(then, clientv3.OpDelete(key))
			continue
		}
		then = append(then, clientv3.OpPut(key, string(a.etcd.keys.seal(key, head.Seq, r.Value))))
	}
	// The value is compared too: after etcd was restored from a snapshot, another head can
	// have the same revision.
	conditions := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(headKey), "=", on.Revision),
		clientv3.Compare(clientv3.Value(headKey), "=", string(on.sealed)),
	}
	look := []clientv3.Op{a.etcd.getGateways(), clientv3.OpGet(headKey)}
	resp, err := a.etcd.write(ctx, conditions, then, look)
	for errors.Is(err, errAmbiguous) && ctx.Err() == nil {
		a.unanswered = true
		// The same again: it succeeds only if the first has not, and never will.
		resp, err = a.etcd.write(ctx, conditions, then, look)
	}
	if errors.Is(err, rpctypes.ErrNoSpace) { // etcd says so of a change that it has made, too, if others use up its space just then
		if now, lookErr := a.etcd.write(ctx, conditions, nil, look); lookErr != nil {
			err = fmt.Errorf("%w: %w", errAmbiguous, err)
		} else if !now.Succeeded {
			a.unanswered, resp, err = true, now, nil
		}
	}
	switch {
	case err != nil && a.unanswered && !errors.Is(err, errAmbiguous):
		return result{}, false, fmt.Errorf("%w: %w", errAmbiguous, err)
	case err != nil:
		return result{}, false, err
	}
	if resp.Succeeded {
		a.ticket = "" // the transaction has deleted it
		return a.applied(ctx, head, a.gatewaysIn(resp.Responses[0]))
	}
	current, err := a.etcd.headIn(resp.Responses[1].GetResponseRange())
	if err != nil {
		return result{}, false, err
	}
	if err := a.catchUp(ctx, current); err != nil {
		return result{}, false, err
	}
	if !a.unanswered {
		return result{}, false, a.enterQueue(ctx)
	}
	// An earlier try may have succeeded: the change with that number is then ours.
	a.unanswered = false
	made, known := a.fleet.progress.sum(head.Seq)
	switch {
	case !known:
		return result{}, false, errAmbiguous
	case bytes.Equal(made, head.Sum):
		return a.applied(ctx, head, a.gatewaysIn(resp.Responses[0]))
	}
	return result{}, false, a.enterQueue(ctx)
}

// applied waits until this gateway's replica has applied a change.
func (a *attempt) applied(ctx context.Context, head apikey.Head, serving map[string]registered) (result, bool, error) {
	at, err := a.fleet.progress.reach(ctx, func(at point) bool { return at.Seq >= head.Seq })
	if err != nil {
		return result{}, false, fmt.Errorf("%w: it is committed, but this replica has not applied it", errAmbiguous)
	}
	return result{at: point{Position: apikey.Position{Head: head, Revision: at.Revision}}, serving: serving}, true, nil
}

// catchUp waits until this gateway's replica has applied the changes up to a head.
func (a *attempt) catchUp(ctx context.Context, head point) error {
	if _, err := a.fleet.progress.reach(ctx, func(at point) bool { return at.has(head) }); err != nil {
		return fmt.Errorf("this replica does not keep up with the changes: %s", a.fleet.reason())
	}
	return nil
}

// gatewaysIn returns the gateways that may be serving: those that are registered so, and
// those that were excluded, whose leases may last. A registration that cannot be read
// counts as one that never acknowledges anything.
func (a *attempt) gatewaysIn(read *etcdserverpb.ResponseOp) map[string]registered {
	serving := make(map[string]registered)
	for _, kv := range read.GetResponseRange().Kvs {
		id, isGateway := registrationAt(strings.TrimPrefix(string(kv.Key), a.etcd.prefix))
		if !isGateway {
			continue
		}
		found, err := a.etcd.openRegistration(id, kv.Value, kv.ModRevision)
		if err != nil || found.serving() || found.State == apikey.GatewayFenced {
			serving[id] = found
		}
	}
	return serving
}
