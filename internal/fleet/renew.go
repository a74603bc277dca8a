package fleet

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// watchPatience is how long the watch may take to deliver a change that etcd has.
const watchPatience = time.Second

// keepLease renews the lease until the gateway may not serve any more. What fails for a while
// is tried again: the lease ends by itself. One that took long is already old, so the next
// follows immediately.
func (f *Fleet) keepLease(ctx context.Context, e *etcd, id string) error {
	for {
		o, asked := f.options.Load(), time.Now()
		err := f.renew(ctx, e, id, o.MaxStaleness)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil:
			f.succeed()
		case endsLease(err):
			return err
		default:
			f.fail(err)
		}
		if err := pause(ctx, o.renewEvery()-time.Since(asked)); err != nil {
			return err
		}
	}
}

// renew renews the lease once.
func (f *Fleet) renew(ctx context.Context, e *etcd, id string, staleness time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, staleness)
	defer cancel()
	before, _ := f.progress.now()
	from := f.lease.clock()
	read, err := e.read(ctx, clientv3.OpGet(e.name(headName)), clientv3.OpGet(e.name(gatewayPrefix+id)))
	if err != nil {
		return err
	}
	head, err := e.headIn(read.Responses[0].GetResponseRange())
	if err != nil {
		return err
	}
	if head.sealed == nil || isBehind(head.Position, before.Position) {
		return otherHistory(head.Head, before.Head)
	}
	f.latest.Store(&head.Head)
	kvs := read.Responses[1].GetResponseRange().Kvs
	if len(kvs) == 0 {
		return errFenced
	}
	own, err := e.openRegistration(id, kvs[0].Value, kvs[0].ModRevision)
	if err != nil {
		return err
	}
	if !own.serving() {
		return errFenced
	}
	if err := f.await(ctx, head); err != nil {
		return err
	}
	f.progress.latest(head, read.Header.Revision)
	f.lease.extend(from, f.options.Load().lease())
	if err := f.noteContact(ctx, from.wall, id); err != nil {
		f.log.Warn("could not record that this replica is up to date", zap.Error(err))
		return nil
	}
	f.removeFormer(e)
	return nil
}

// await waits until the replica has applied the change of a head. If it does not come, the
// watch is reopened.
func (f *Fleet) await(ctx context.Context, head point) error {
	for {
		patience, cancel := context.WithTimeout(ctx, watchPatience)
		at, err := f.progress.reach(patience, func(at point) bool { return at.Seq >= head.Seq })
		cancel()
		switch {
		case err == nil && at.Seq == head.Seq && !sameChange(at.Head, head.Head):
			return fmt.Errorf("%w: change %d is another one", errHistory, head.Seq)
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("this replica does not keep up with the changes: it is at %d of %d", at.Seq, head.Seq)
		}
		if restart := f.restartWatch.Load(); restart != nil && !f.applying.Load() {
			(*restart)(errStalled)
		}
	}
}
