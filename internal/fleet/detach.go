package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Detach ends a fleet, and makes one of its replicas a store of its own. The replica must
// have all changes, and no gateway may be registered. From then on no gateway of the fleet
// serves: the fleet's keys are those of the store alone. Detach can be repeated if it
// fails. already means that the store belongs to no fleet.
//
// The fleet ends first, on behalf of this store. If Detach is interrupted in between, only
// this store can be detached.
func Detach(ctx context.Context, o Options, replica Origin) (already bool, err error) {
	e, err := dial(&o)
	if err != nil {
		return false, err
	}
	defer e.close()
	own, err := replica.Membership()
	switch {
	case err != nil:
		return false, err
	case own.Prefix == "":
		return true, nil
	case own.Prefix != e.prefix:
		return false, fmt.Errorf("the store belongs to the fleet with the prefix %s, and the configuration says %s: correct the prefix", own.Prefix, e.prefix)
	case own.Moving:
		return false, fmt.Errorf("the store is being moved into the fleet below %s: finish with caddy api-keys fleet import", own.Prefix)
	}
	if err := e.awaitMembers(ctx); err != nil {
		return false, err
	}
	d := &detaching{etcd: e, replica: replica, own: own}
	if err := d.end(ctx); err != nil {
		return false, err
	}
	return false, replica.SetMembership(context.WithoutCancel(ctx), apikey.Membership{})
}

// detaching is a move out of a fleet.
type detaching struct {
	etcd    *etcd
	replica Origin
	own     apikey.Membership
}

// end ends the fleet on behalf of this replica, unless that was done before.
func (d *detaching) end(ctx context.Context) error {
	read, err := d.etcd.read(ctx, d.getHead(), d.etcd.getGateways())
	if err != nil {
		return err
	}
	head, err := d.mayEnd(read.Responses)
	if err != nil || d.isEnd(head) {
		return err
	}
	// What is begun now is finished.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	if d.own.Leaving == "" {
		d.own.Leaving = rand.Text()
	}
	if err := d.replica.SetMembership(ctx, d.own); err != nil {
		return err
	}
	if err := d.writeEnd(ctx, head); err != nil {
		return fmt.Errorf("ending the fleet: %w", err)
	}
	return nil
}

// mayEnd returns the head that was read, or why this replica cannot leave.
func (d *detaching) mayEnd(read []*etcdserverpb.ResponseOp) (head point, err error) {
	head, err = d.etcd.headIn(read[0].GetResponseRange())
	at := d.own.At
	switch {
	case d.isEnd(head):
		return head, nil
	case err != nil: // another replica has left, for instance
		return head, err
	case head.sealed == nil:
		return head, fmt.Errorf("there is no fleet below %s, so it is not known whether this replica has its last changes: restore a backup into an empty directory", d.etcd.prefix)
	case head.Fleet != at.Fleet || !d.own.Complete:
		return head, fmt.Errorf("the replica does not have the changes of the fleet below %s: start its gateway, wait until it serves, and stop it again", d.etcd.prefix)
	case !sameChange(head.Head, at.Head):
		return head, fmt.Errorf("the replica is at change %d, and the fleet at change %d: start its gateway, wait until it serves, and stop it again", at.Seq, head.Seq)
	}
	return head, d.nobodyIn(read[1].GetResponseRange())
}

// isEnd reports whether a head is the one with which this replica ends the fleet. A copy of
// the replica from before may know the move, but not the changes that the fleet ended with.
func (d *detaching) isEnd(head point) bool {
	return d.own.Leaving != "" && head.Ended == d.own.Leaving && sameChange(head.Head, last(d.own.At.Head, d.own.Leaving))
}

// nobodyIn fails if gateways are registered.
func (d *detaching) nobodyIn(read *etcdserverpb.RangeResponse) error {
	var names []string
	for _, kv := range read.Kvs {
		names = append(names, d.etcd.nameOf(kv))
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return fmt.Errorf("gateways are registered in the fleet: %s. Stop them; if one was killed, delete what it has left with etcdctl del %s and its id", strings.Join(names, ", "), d.etcd.name(gatewayPrefix))
}

// writeEnd writes the last head, if the fleet is still as it was read and nobody has
// registered.
func (d *detaching) writeEnd(ctx context.Context, head point) error {
	name := d.etcd.name(headName)
	sealed := string(d.etcd.keys.sealHead(name, last(head.Head, d.own.Leaving)))
	conditions := []clientv3.Cmp{
		clientv3.Compare(clientv3.ModRevision(name), "=", head.Revision),
		clientv3.Compare(clientv3.Value(name), "=", string(head.sealed)),
		clientv3.Compare(clientv3.CreateRevision(d.etcd.name(gatewayPrefix)), "=", 0).WithPrefix(),
	}
	for {
		resp, err := d.etcd.write(ctx, conditions, []clientv3.Op{clientv3.OpPut(name, sealed)}, []clientv3.Op{d.getHead(), d.etcd.getGateways()})
		switch {
		case errors.Is(err, errAmbiguous) && ctx.Err() == nil:
			continue
		case err != nil:
			return err
		case resp.Succeeded:
			return nil
		}
		now, err := d.mayEnd(resp.Responses)
		switch {
		case d.isEnd(now): // by an earlier attempt
			return nil
		case err == nil:
			err = errors.New("etcd was changed in the meantime: run this again")
		}
		return err
	}
}

func (d *detaching) getHead() clientv3.Op { return clientv3.OpGet(d.etcd.name(headName)) }
