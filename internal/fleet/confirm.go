package fleet

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// fenceAfter is how long a gateway may take to acknowledge a change before it is
	// excluded.
	fenceAfter = time.Second
	// pollInterval is how often the registrations are read while somebody waits for them,
	// in case the watch does not deliver.
	pollInterval = 500 * time.Millisecond
	// staticPatience is how long a change waits for gateways in static mode, which cannot be
	// excluded.
	staticPatience = 5 * time.Second
	// strictPatience is how long it waits for one in strict mode to acknowledge it or to be
	// excluded. Either takes one write: etcd is silent, or full.
	strictPatience = 10 * time.Second
)

// afterLease returns how long to wait, by this machine's clock, until a lease has ended
// that lasts for a time by another machine's clock. A kernel slews its clock by up to a
// tenth, so that two clocks' rates can differ by a factor of 1.22.
func afterLease(lease time.Duration) time.Duration { return lease + lease/4 }

// confirm waits until no other gateway grants what the changes up to a point have taken
// away, until ctx is done, or until this gateway is closed. serving are the gateways that
// served at that point. It excludes those that do not acknowledge the change.
func (f *Fleet) confirm(ctx context.Context, at point, serving map[string]registered) apikey.Propagation {
	w := &wait{fleet: f, began: time.Now(), behind: make(map[string]*laggard)}
	w.change, w.sum = at.End()
	for id, g := range serving {
		if id != *f.id.Load() && !w.acknowledges(g) {
			w.behind[id] = &laggard{registered: g}
			if g.State == apikey.GatewayFenced {
				w.behind[id].fenced = w.began
			}
		}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if !w.done() {
		go func() {
			select {
			case <-f.closed:
				stop()
			case <-ctx.Done():
			}
		}()
	}
	for !w.done() && w.next(ctx, at.Revision) {
	}
	return apikey.Propagation{
		Confirmed: len(w.behind) == 0, Revision: at.Seq, Gateways: countServing(serving),
		Waited: time.Since(w.began), Behind: w.names(),
	}
}

// countServing returns how many gateways are registered as serving, at least the one that
// asks.
func countServing(gateways map[string]registered) int {
	n := 0
	for _, g := range gateways {
		if g.serving() {
			n++
		}
	}
	return max(n, 1)
}

// wait is a wait for other gateways. It outlasts a connection: the gateway may be reloaded
// in the meantime.
type wait struct {
	fleet  *Fleet
	change uint64 // the last one that takes access away
	sum    []byte
	began  time.Time
	behind map[string]*laggard // by id
	polled <-chan struct{}     // closed once the registrations have been read; nil if they are not being read
}

// laggard is a gateway that has not acknowledged the change.
type laggard struct {
	registered
	fenced time.Time // when it was known to be excluded; zero if it is not
}

// done reports whether nothing is left to wait for.
func (w *wait) done() bool {
	if len(w.behind) == 0 {
		return true
	}
	for _, l := range w.behind {
		if !l.fenced.IsZero() || time.Since(w.began) <= l.patience() { // a lease that is not renewed ends
			return false
		}
	}
	return true
}

// excludable reports whether the gateway can be excluded. One whose registration cannot be read
// may be in static mode.
func (l *laggard) excludable() bool { return l.State != "" && !l.static() }

func (l *laggard) patience() time.Duration {
	if l.excludable() {
		return strictPatience
	}
	return staticPatience
}

// next waits for news, and takes them into account. It returns false once there is nobody
// to wait for the outcome.
func (w *wait) next(ctx context.Context, since int64) bool {
	gateways, revision, changed := w.fleet.registry.all()
	_, advanced := w.fleet.progress.now()
	if revision >= since {
		w.update(ctx, gateways)
	}
	w.exclude(ctx)
	if w.done() {
		return true
	}
	poll := time.NewTimer(w.pause())
	defer poll.Stop()
	select {
	case <-changed:
	case <-advanced: // to what others have acknowledged already
	case <-w.polled:
		w.polled = nil
	case <-poll.C:
		if w.polled == nil {
			w.poll(ctx)
		}
	case <-ctx.Done():
		return false
	}
	return true
}

// poll begins to read the registrations. It may take as long as the wait: etcd can be slow.
func (w *wait) poll(ctx context.Context) {
	polled := make(chan struct{})
	w.polled = polled
	asking, cancel := w.asking(ctx)
	go func() {
		defer close(polled)
		defer cancel()
		if err := w.fleet.registry.read(asking, w.fleet.connection()); err != nil && ctx.Err() == nil {
			w.fleet.log.Warn("could not read the gateways of the fleet", zap.Error(err))
		}
	}()
}

// asking bounds what etcd is asked: the call returns in time even if it does not answer.
func (w *wait) asking(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithDeadline(ctx, w.until())
}

// until returns when the wait is over if nothing more is heard.
func (w *wait) until() (latest time.Time) {
	for _, l := range w.behind {
		end := w.began.Add(l.patience())
		if !l.fenced.IsZero() {
			end = l.fenced.Add(afterLease(l.lease()))
		}
		if end.After(latest) {
			latest = end
		}
	}
	return latest
}

// pause returns how long to wait until something has to be done.
func (w *wait) pause() time.Duration {
	until := pollInterval
	for _, l := range w.behind {
		if !l.fenced.IsZero() {
			until = min(until, time.Until(l.fenced.Add(afterLease(l.lease()))))
		}
	}
	return max(until, 0)
}

// update removes gateways that have acknowledged the change, or that have left.
func (w *wait) update(ctx context.Context, gateways map[string]registered) {
	for id, l := range w.behind {
		now, there := gateways[id]
		switch {
		case !there:
			if w.hasLeft(ctx, id) {
				delete(w.behind, id)
			}
			continue
		case now.revision < l.revision:
			continue
		}
		l.registered = now
		switch {
		case now.State == apikey.GatewayFenced && l.fenced.IsZero():
			l.fenced = time.Now()
		case now.serving() && w.acknowledges(now):
			delete(w.behind, id)
		}
	}
}

// acknowledges reports whether a gateway says that it has applied the change. If etcd was
// restored, what it says may be of another history, and so may this gateway's replica: it
// counts only if the replica has both changes.
func (w *wait) acknowledges(g registered) bool {
	p := w.fleet.progress
	return g.Acknowledged >= w.change && p.has(g.Acknowledged, g.AcknowledgedSum) && p.has(w.change, beginning(w.sum))
}

// hasLeft asks etcd whether a gateway has left. That the registry does not have it proves
// nothing if etcd has gone back, as after it was restored from a snapshot.
func (w *wait) hasLeft(ctx context.Context, id string) bool {
	ctx, cancel := w.asking(ctx)
	defer cancel()
	kv, err := w.fleet.connection().getRegistration(ctx, id)
	return err == nil && kv == nil
}

// exclude excludes gateways that have taken too long, and removes those whose lease has
// ended since.
func (w *wait) exclude(ctx context.Context) {
	for id, l := range w.behind {
		switch {
		case !l.excludable():
		case !l.fenced.IsZero() && time.Since(l.fenced) >= afterLease(l.lease()):
			delete(w.behind, id)
			w.fleet.connection().delete(gatewayPrefix + id)
		case l.fenced.IsZero() && time.Since(w.began) >= fenceAfter:
			w.fence(ctx, l)
		}
	}
}

// fence excludes a gateway, unless it has just acknowledged the change.
func (w *wait) fence(ctx context.Context, l *laggard) {
	asking, cancel := w.asking(ctx)
	defer cancel()
	fenced, done, err := w.fleet.connection().fence(asking, l.registered)
	switch {
	case err != nil && ctx.Err() == nil:
		w.fleet.log.Warn("could not exclude a gateway that does not acknowledge a change; trying again", zap.String("gateway", l.Name), zap.Error(err))
	case err == nil && done:
		l.registered, l.fenced = fenced, time.Now()
		w.fleet.log.Warn("excluded a gateway that did not acknowledge a change: it serves again once it has caught up",
			zap.String("gateway", l.Name), zap.String("gateway_id", l.id), zap.Uint64("change", w.change))
	}
}

// fence excludes a gateway, unless its registration is no longer as it was read. From then
// on, its lease is not renewed.
func (e *etcd) fence(ctx context.Context, g registered) (fenced registered, done bool, err error) {
	name := e.name(gatewayPrefix + g.id)
	g.State = apikey.GatewayFenced
	resp, err := e.write(ctx,
		[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", g.revision)},
		[]clientv3.Op{clientv3.OpPut(name, e.sealRegistration(g.id, g.registration))}, nil)
	if err != nil || !resp.Succeeded {
		return g, false, err
	}
	g.revision = resp.Header.Revision
	return g, true, nil
}

// names returns the names of the gateways that are behind.
func (w *wait) names() []string {
	var names []string
	for id, l := range w.behind {
		if l.Name == "" {
			l.Name = id
		}
		names = append(names, l.Name)
	}
	slices.Sort(names)
	return names
}
