package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// run takes part in the fleet until ctx is done. After any failure it starts over.
func (f *Fleet) run(ctx context.Context) {
	wait, renewed := time.Duration(0), false
	for ctx.Err() == nil {
		began := time.Now()
		err := f.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if renewed = isTokenRefused(err) && !renewed; !renewed {
			f.fail(err)
		} // else the next session has another token
		wait = nextRetry(wait, time.Since(began), err)
		f.reconciling.pause(ctx, wait)
	}
}

const (
	minRetry = 100 * time.Millisecond
	maxRetry = 5 * time.Second
)

// nextRetry returns how long to wait after a session that has failed. last is how long that
// was the last time. One that took long was a success in between, unless it has only read
// records that are refused: a fleet can have millions of them.
func nextRetry(last, took time.Duration, err error) time.Duration {
	most := maxRetry
	switch {
	case errors.Is(err, errRecords):
		most = longestUnread
	case took > maxRetry:
		return minRetry
	}
	return min(max(2*last, minRetry), most)
}

// session takes part in the fleet under one registration, until something fails.
func (f *Fleet) session(ctx context.Context) error {
	e, o := f.connection(), f.options.Load()
	if err := e.checkMembers(ctx); err != nil {
		return err
	}
	if _, _, err := e.readHead(ctx); err != nil {
		f.heedEnd(ctx, err)
		return err // with the wrong integrity key, say: leave no registration behind
	}
	m, err := register(ctx, e, o, f.started)
	if errors.Is(err, rpctypes.ErrNoSpace) {
		if last := f.rejoin(ctx, e, o); last != nil {
			m, err = last, nil
		}
	}
	defer func() {
		f.heedEnd(ctx, err)
		f.leave(m, err)
	}()
	if err != nil {
		return err
	}
	f.id.Store(&m.id)
	defer f.progress.stop()
	if err = e.removeAbandoned(ctx); err != nil {
		return err
	}
	if err = f.catchUp(ctx, e); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.follow(ctx, e) })
	g.Go(func() error { return f.serve(ctx, e, m) })
	g.Go(func() error { f.warnOfFormerKey(ctx, e); return nil })
	err = g.Wait()
	return err
}

// leave ends a session. If the gateway may keep serving for as long as its lease lasts, its
// registration stays until the next session has renewed the lease: a call that takes access
// away in the meantime has to wait for it.
func (f *Fleet) leave(m *membership, why error) {
	if m.serving() {
		f.former, f.last = append(f.former, m.id), m
	} else { // no lease came from it
		m.etcd.delete(gatewayPrefix + m.id)
	}
	if endsLease(why) {
		f.last = nil
	}
	static := f.options.Load().Static
	switch {
	case f.closing() && static:
		f.leaveFleet(m.etcd)
	case f.closing() || endsLease(why) && !static:
		f.lease.end()
		f.removeFormer(m.etcd)
	}
}

// endsLease reports whether an error means that a gateway in strict mode may not keep
// serving under the lease that it has.
func endsLease(err error) bool {
	_, ended := errors.AsType[*endedError](err)
	return ended || errors.Is(err, errFenced) || errors.Is(err, errHistory) || errors.Is(err, errUnsealed) || errors.Is(err, errRecords)
}

// heedEnd stops serving for good if an error says that this gateway's fleet has ended. That
// holds in static mode too, and after a restart without etcd.
func (f *Fleet) heedEnd(ctx context.Context, err error) {
	at, _ := f.progress.now()
	if ended, ok := errors.AsType[*endedError](err); !ok || ended.head.Fleet != at.Fleet {
		return
	}
	f.lease.end()
	if err := f.forgetContact(context.WithoutCancel(ctx)); err != nil {
		f.log.Error("could not record that the fleet has ended: in static mode, this gateway may serve when it is started without etcd", zap.Error(err))
	}
}

// catchUp brings the replica into a state from which changes can be followed.
func (f *Fleet) catchUp(ctx context.Context, e *etcd) error {
	head, revision, err := e.findHead(ctx, f.replica)
	if err != nil {
		return err
	}
	at, complete, err := f.replica.Position()
	served := complete || f.Live()
	switch {
	case err != nil:
		return err
	case complete && f.isElsewhere(head, at):
		return f.unlessFull(ctx, head.Head, func() error { return f.goOver(ctx, e, at) })
	case complete && f.reload.Load():
		if err = e.hasEvent(ctx, at.LastEvent); err == nil {
			err = f.unlessFull(ctx, head.Head, func() error { return f.load(ctx, e, served) })
		}
	case !complete:
		err = f.unlessFull(ctx, head.Head, func() error { return f.load(ctx, e, served) })
	case sameChange(at.Head, head.Head):
		f.reconciling.end()
		f.settle()
		f.progress.set(head.Position, head.sealed)
		f.progress.latest(head, revision)
	default:
		f.progress.set(at, nil)
		f.settleAt = head.Seq
	}
	if err == nil {
		f.reload.Store(false)
	}
	return err
}

// isBehind reports whether a head of etcd is of a different history from one that this
// replica has applied, as far as the two show.
func isBehind(inEtcd, applied apikey.Position) bool {
	switch {
	case inEtcd.Fleet != applied.Fleet || inEtcd.Seq < applied.Seq:
		return true
	case inEtcd.Seq == applied.Seq:
		return !sameChange(inEtcd.Head, applied.Head)
	}
	return inEtcd.Revision <= applied.Revision // later changes have later revisions
}

// otherHistory says that etcd has a different history from this replica.
func otherHistory(inEtcd, applied apikey.Head) error {
	return fmt.Errorf("%w: etcd is at change %d, and this replica at change %d", errHistory, inEtcd.Seq, applied.Seq)
}

// hasEvent checks that etcd has the last event of this replica. If not, it was restored
// from a snapshot that is older than that, and has overtaken the replica since.
func (e *etcd) hasEvent(ctx context.Context, id string) error {
	if id == "" {
		return nil // no change has been made so far
	}
	read, err := e.read(ctx, clientv3.OpGet(e.name(eventPrefix+id)))
	if err != nil {
		return err
	}
	if len(read.Responses[0].GetResponseRange().Kvs) == 0 {
		return fmt.Errorf("%w: etcd does not have the event %s", errHistory, id)
	}
	return nil
}

// findHead reads the head, and the revision of etcd as of which it was read. The first
// gateway of a fleet makes it.
func (e *etcd) findHead(ctx context.Context, replica Replica) (head point, revision int64, err error) {
	for {
		head, revision, err := e.readHead(ctx)
		if err != nil || head.sealed != nil {
			return head, revision, err
		}
		at, _, err := replica.Position()
		if err != nil {
			return head, 0, err
		}
		if at.Fleet != "" {
			return head, 0, e.otherFleet()
		}
		sealed := e.keys.sealHead(e.name(headName), firstHead())
		made, err := e.write(ctx, e.neither(headName, importName),
			[]clientv3.Op{clientv3.OpPut(e.name(headName), string(sealed))}, []clientv3.Op{clientv3.OpGet(e.name(importName))})
		switch {
		case err != nil && !errors.Is(err, errAmbiguous):
			return head, 0, err
		case err == nil && !made.Succeeded && len(made.Responses[0].GetResponseRange().Kvs) > 0:
			return head, 0, fmt.Errorf("an import into the fleet below %s has not finished: this gateway waits for it; if it was interrupted, run caddy api-keys fleet import again", e.prefix)
		}
	}
}

// serve registers as serving once the replica is up to date, and then renews the lease
// and acknowledges changes.
func (f *Fleet) serve(ctx context.Context, e *etcd, m *membership) error {
	head, _, err := e.readHead(ctx)
	if err != nil {
		return err
	}
	if err := f.await(ctx, head); err != nil {
		return err
	}
	if err := f.putBack(ctx); err != nil {
		return err
	}
	if err := f.noteRegistration(ctx, m.id); err != nil && f.options.Load().Static {
		return err
	}
	if !m.serving() { // see rejoin
		at, _ := f.progress.now()
		if err := m.serve(ctx, at.Head); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.keepLease(ctx, e, m.id) })
	g.Go(func() error { return f.acknowledge(ctx, m) })
	return g.Wait()
}

const (
	// acknowledgeAfter is how long acknowledgements are collected.
	acknowledgeAfter = 5 * time.Millisecond
	// fullRetry is how long to wait before an acknowledgement for which etcd had no space is
	// written again.
	fullRetry = time.Second
)

// acknowledge says in the gateway's registration which changes it has applied, if they
// take access away. While etcd is full, it tries again: the lease is renewed by reading.
func (f *Fleet) acknowledge(ctx context.Context, m *membership) error {
	for full := false; ; {
		if _, err := f.progress.reach(ctx, func(at point) bool { return !m.hasAcknowledged(at.Head) }); err != nil {
			return err
		}
		if err := pause(ctx, acknowledgeAfter); err != nil {
			return err
		}
		at, _ := f.progress.now()
		err := m.acknowledge(ctx, at.Head)
		switch {
		case err == nil:
			full = false
		case !errors.Is(err, rpctypes.ErrNoSpace):
			return err
		case !full:
			full = true
			f.log.Error("etcd is full: this gateway cannot acknowledge changes, so calls that take access away are not confirmed until it has space again", zap.Uint64("change", at.Seq), zap.Error(err))
		}
		if full {
			if err := pause(ctx, fullRetry); err != nil {
				return err
			}
		}
	}
}
