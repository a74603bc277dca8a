package fleet

import (
	"context"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxPutBack is how many records a gateway puts back without being asked.
const maxPutBack = 100

// Comparison finds the records of a replica that etcd has lost.
type Comparison interface {
	// Add compares records of etcd.
	Add(ctx context.Context, records []apikey.Record) error
	// Finish returns how many records etcd has lost. The replica keeps them from now on,
	// unless there are too many.
	Finish(ctx context.Context) (lost int, err error)
}

// reconciling is what a gateway does about an etcd that has another history.
type reconciling struct {
	another atomic.Bool                 // the changes of etcd were seen not to follow those of the replica
	allowed atomic.Bool                 // somebody has asked to put back whatever there is
	retry   chan struct{}               // has room for one: there is no need to wait any longer
	lost    atomic.Pointer[apikey.Lost] // nil if it is nothing, or not known yet
	refused refusal                     // for the one goroutine that takes part in the fleet
}

// refusal is why a gateway does not use the records of etcd: it would not switch to another
// history by itself, or cannot write them.
type refusal struct {
	head  apikey.Head // of etcd
	why   error
	until time.Time // the records are not read again before then
}

// still reports whether there is no need to read the records again: nothing has changed,
// or they were read not long ago. A fleet can have millions of them.
func (r *refusal) still(head apikey.Head) bool {
	return r.why != nil && (sameChange(head, r.head) || time.Now().Before(r.until))
}

// end says that the replica has the history of etcd.
func (r *reconciling) end() {
	r.another.Store(false)
	r.allowed.Store(false)
	r.refused = refusal{}
}

// most returns how many records may be put back.
func (r *reconciling) most() int {
	if r.allowed.Load() {
		return math.MaxInt
	}
	return maxPutBack
}

// pause waits before the next try, unless somebody asks for it.
func (r *reconciling) pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.retry:
	case <-ctx.Done():
	}
}

// PutBack has the gateway put back everything that etcd has lost, if it waits to be asked
// because that is too much. It does not wait until that is done: see [Fleet.Known].
func (f *Fleet) PutBack() {
	r := &f.reconciling
	lost := r.lost.Load()
	if lost == nil || !lost.Waiting {
		return
	}
	f.log.Warn("this gateway was asked to put back everything that is missing in etcd", zap.Int("records", lost.Records))
	r.allowed.Store(true)
	r.lost.CompareAndSwap(lost, &apikey.Lost{Records: lost.Records, Left: lost.Records})
	select {
	case r.retry <- struct{}{}:
	default:
	}
}

// hasGoneBack reports whether etcd was seen to have a different history from this gateway's
// replica, and what was lost is not all back yet.
func (f *Fleet) hasGoneBack() bool {
	return f.reconciling.another.Load() || f.reconciling.lost.Load() != nil
}

// isElsewhere reports whether etcd is known to have a different history from the replica.
func (f *Fleet) isElsewhere(head point, at apikey.Position) bool {
	return isBehind(head.Position, at) || f.reconciling.another.Load() && !sameChange(head.Head, at.Head)
}

// goOver switches to another history of etcd, as after it was restored from an old
// snapshot: the replica keeps what etcd has lost, and is filled from etcd. Until that is
// put back, keys may be active in the replica that were revoked, and this gateway serves
// nobody.
func (f *Fleet) goOver(ctx context.Context, e *etcd, at apikey.Position) error {
	if !f.options.Load().Static { // a static gateway keeps serving with what it knows
		f.lease.end()
	}
	lost, err := f.compare(ctx, e, at)
	if err != nil {
		return err
	}
	if err := f.stopServing(ctx, e); err != nil {
		return err
	}
	f.log.Error("etcd has gone back to an earlier state: before this gateway serves again, it puts back what is missing there",
		zap.Uint64("change", at.Seq), zap.Int("missing_records", lost))
	if err := f.load(ctx, e, false); err != nil { // compare has found that etcd's records are the fleet's
		return err
	}
	f.reconciling.end()
	return nil
}

// stopServing ends the lease, so that nobody has to wait for this gateway.
func (f *Fleet) stopServing(ctx context.Context, e *etcd) error {
	f.lease.end()
	if err := f.forgetContact(ctx); err != nil { // or else it would serve after a restart
		return err
	}
	f.removeFormer(e)
	return nil
}

// compare finds out which records of the replica etcd has lost, and returns how many.
func (f *Fleet) compare(ctx context.Context, e *etcd, at apikey.Position) (lost int, err error) {
	began := time.Now()
	head, revision, err := e.readHead(ctx)
	if err != nil {
		return 0, err
	}
	if head.Fleet != at.Fleet {
		return 0, e.otherFleet()
	}
	r, most := &f.reconciling, f.reconciling.most()
	if most == maxPutBack && r.refused.still(head.Head) {
		return 0, r.refused.why
	}
	c, err := f.replica.BeginComparison(most)
	if err != nil {
		return 0, err
	}
	if _, _, err := e.allRecords(ctx, revision, head.Head, func(list []apikey.Record) error { return c.Add(ctx, list) }); err != nil {
		return 0, err
	}
	if lost, err = c.Finish(ctx); err != nil || lost <= most {
		return lost, err
	}
	r.lost.Store(&apikey.Lost{Records: lost, Left: lost, Waiting: true})
	r.refused = refusal{head.Head, tooMany(head.Head, at.Head, lost), time.Now().Add(10 * time.Since(began))}
	return lost, r.refused.why
}

func tooMany(inEtcd, applied apikey.Head, lost int) error {
	return fmt.Errorf("%w; %d records of this replica are missing in etcd, too many to put back without being asked: run caddy api-keys fleet reconcile on this gateway",
		otherHistory(inEtcd, applied), lost)
}

// otherFleet says that etcd has nothing that this replica can be reconciled with.
func (e *etcd) otherFleet() error {
	return fmt.Errorf("%w: the fleet of this replica is not below %s: to set it up again, take a backup here, and restore it through a gateway with an empty directory",
		errHistory, e.prefix)
}

// putBack puts back what etcd has lost and this replica has kept, and waits until the
// other gateways have applied it.
func (f *Fleet) putBack(ctx context.Context) error {
	kept, err := f.replica.Kept()
	if err != nil {
		return err
	}
	if kept == 0 {
		f.reconciling.lost.Store(nil)
		return nil
	}
	f.reconciling.lost.Store(&apikey.Lost{Records: kept, Left: kept})
	f.log.Info("putting back what is missing in etcd", zap.Int("records", kept))
	if err := f.replica.PutBack(ctx, func(o apikey.Outcome, left int) {
		f.reconciling.lost.Store(&apikey.Lost{Records: kept, Left: left})
		if p := o.Propagation; !p.Confirmed {
			f.log.Warn("some gateways may not have applied yet what was put back into etcd", zap.Strings("behind", p.Behind))
		}
	}); err != nil {
		return fmt.Errorf("putting back what is missing in etcd: %w", err)
	}
	f.reconciling.lost.Store(nil)
	f.log.Info("everything that was missing in etcd is back", zap.Int("records", kept))
	return nil
}
