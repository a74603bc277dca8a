package fleet

import (
	"context"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A gateway leaves registrations behind: those of its earlier sessions, under which its
// lease may continue for a moment, and those of a process that was killed, which its
// replica has noted. Nobody should wait for them longer than needed, or count them as
// serving.

// inherited are registrations that an earlier process has noted in the replica, by id, and
// since when each is known to be fenced; zero if it is not.
type inherited map[string]time.Time

// removeFormer removes former registrations. The gateway must have stopped serving, or have
// renewed its lease under another one.
func (f *Fleet) removeFormer(e *etcd) {
	f.former = slices.DeleteFunc(f.former, func(id string) bool {
		if _, noted := f.inherited[id]; noted {
			return f.removeInherited(e, id)
		}
		return e.delete(gatewayPrefix+id) == nil
	})
}

// rejoin returns the registration of the last session, so that this one continues under it:
// etcd is full, and has no space for another. It is nil if that is not possible: there is none,
// others have excluded or removed it, or it says that leases end earlier than they now do. The
// others have waited for this gateway all the time, so nothing was confirmed without it.
func (f *Fleet) rejoin(ctx context.Context, e *etcd, o *Options) *membership {
	last := f.last
	if last == nil || last.Mode != o.mode() || last.LeaseMS < o.lease().Milliseconds() {
		return nil
	}
	kv, err := e.getRegistration(ctx, last.id)
	if err != nil || kv == nil {
		return nil
	}
	now, err := e.openRegistration(last.id, kv.Value, kv.ModRevision)
	if err != nil || !now.serving() {
		return nil
	}
	f.former = slices.DeleteFunc(f.former, func(id string) bool { return id == last.id })
	return &membership{etcd: e, id: last.id, registration: now.registration, revision: now.revision, unsure: last.unsure}
}

// removeInherited does with a registration of an earlier process what a revocation would
// do, in steps: it excludes that gateway, and removes the registration once its lease has
// ended. The replica may be a copy whose original serves, on a machine that was cloned: that
// notices, and registers again. A gateway in static mode would not notice for a day, so
// copies of its replica are not covered, and its registration is removed immediately. It
// reports whether there is nothing left to do.
func (f *Fleet) removeInherited(e *etcd, id string) (done bool) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	kv, err := e.getRegistration(ctx, id)
	if err != nil {
		return false
	}
	if kv == nil {
		return true
	}
	left, err := e.openRegistration(id, kv.Value, kv.ModRevision)
	fenced := f.inherited[id]
	switch {
	case f.options.Load().Static && err != nil || left.static():
		return e.delete(gatewayPrefix+id) == nil
	case err != nil: // sealed with another integrity key: how long its lease lasts is unknown
		return true
	case left.State != apikey.GatewayFenced:
		if _, done, err := e.fence(ctx, left); err == nil && done {
			f.log.Info("excluded the registration that this gateway left behind when it was killed", zap.String("gateway_id", id))
			f.inherited[id] = time.Now()
		}
	case fenced.IsZero():
		f.inherited[id] = time.Now()
	case time.Since(fenced) >= afterLease(left.lease()):
		return e.delete(gatewayPrefix+id) == nil
	}
	return false
}
