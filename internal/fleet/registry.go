package fleet

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// registry is what this gateway knows about the others, and about those that wait for
// their turn. It may be out of date. It is safe for concurrent use.
type registry struct {
	log     *zap.Logger
	serving func(gateways int) // is told how many serve whenever that may have changed; may be nil

	mu       sync.Mutex
	gateways map[string]registered
	ahead    map[string]time.Duration // by id, how far the clocks of gateways are ahead
	tickets  map[string]int64         // by name, the revision at which each was made
	revision int64                    // of etcd, up to which the gateways are known
	queue    int64                    // likewise for the tickets
	heard    time.Time                // when that was heard; zero before the first time
	unwatch  func()                   // ends the watch
	changed  chan struct{}            // closed when something changes
}

func newRegistry(log *zap.Logger, serving func(int)) *registry {
	return &registry{
		log: log, serving: serving, unwatch: func() {}, changed: make(chan struct{}),
		gateways: map[string]registered{}, ahead: map[string]time.Duration{}, tickets: map[string]int64{},
	}
}

// all returns the registrations by id, the revision up to which they are known, and a
// channel that is closed when something changes.
func (r *registry) all() (gateways map[string]registered, revision int64, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.gateways), r.revision, r.changed
}

// first returns the ticket whose turn it is, "" if there is none, and a channel that is
// closed when something changes. One that a gateway has left behind counts for nothing.
func (r *registry) first() (ticket string, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, made := range r.tickets {
		if _, registered := r.gateways[strings.TrimPrefix(name, ticketPrefix)]; !registered {
			continue
		}
		if ticket == "" || made < r.tickets[ticket] {
			ticket = name
		}
	}
	return ticket, r.changed
}

// follow keeps the registry up to date until ctx is done.
func (r *registry) follow(ctx context.Context, connection func() *etcd) {
	for ctx.Err() == nil {
		if err := r.watch(ctx, connection()); err != nil && ctx.Err() == nil {
			r.log.Debug("could not watch the gateways of the fleet", zap.Error(err))
		}
		_ = pause(ctx, 200*time.Millisecond)
	}
}

// watch reads the registry, and follows its changes until that fails.
func (r *registry) watch(ctx context.Context, e *etcd) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := r.read(ctx, e); err != nil {
		return err
	}
	r.mu.Lock()
	next := clientv3.WithRev(r.revision + 1)
	r.unwatch = cancel
	r.mu.Unlock()
	// What others write between the two can be much.
	stream := ownStream(ctx, "gateways", 0)
	gateways := e.client.Watch(stream, e.name(gatewayPrefix), clientv3.WithPrefix(), next)
	tickets := e.client.Watch(stream, e.name(ticketPrefix), clientv3.WithPrefix(), next)
	for {
		var answer clientv3.WatchResponse
		var open, isOfGateways bool
		select {
		case answer, open = <-gateways:
			isOfGateways = true
		case answer, open = <-tickets:
		}
		if err := answer.Err(); err != nil {
			return explain(err)
		}
		if !open || !r.apply(ctx, e, answer, isOfGateways) {
			return ctx.Err()
		}
	}
}

// apply applies an answer of the watch, unless that has ended: see check.
func (r *registry) apply(ctx context.Context, e *etcd, answer clientv3.WatchResponse, ofGateways bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ctx.Err() != nil {
		return false
	}
	if ofGateways {
		r.revision, r.heard = max(r.revision, answer.Header.Revision), time.Now()
	} else {
		r.queue = max(r.queue, answer.Header.Revision)
	}
	for _, event := range answer.Events {
		name := strings.TrimPrefix(string(event.Kv.Key), e.prefix)
		if event.Type == clientv3.EventTypeDelete {
			r.remove(name)
			continue
		}
		r.set(e, string(event.Kv.Key), event.Kv.Value, event.Kv.CreateRevision, event.Kv.ModRevision)
		r.compareClocks(name)
	}
	r.announce()
	return true
}

// getRegistry reads the registrations and the tickets. What others have written between the
// two can be large.
func (e *etcd) getRegistry() []clientv3.Op {
	return []clientv3.Op{e.getGateways(), clientv3.OpGet(e.name(ticketPrefix), clientv3.WithPrefix())}
}

// read reads the whole registry.
func (r *registry) read(ctx context.Context, e *etcd) error {
	known, asked := r.known(), time.Now()
	read, err := e.read(ctx, e.getRegistry()...)
	if err != nil {
		return err
	}
	r.check(known, read.Header.Revision)
	r.mu.Lock()
	defer r.mu.Unlock()
	if read.Header.Revision < max(r.revision, r.queue) {
		return nil // the watch is ahead
	}
	r.revision, r.queue, r.heard = read.Header.Revision, read.Header.Revision, asked
	there := make(map[string]bool)
	for _, part := range read.Responses {
		for _, kv := range part.GetResponseRange().Kvs {
			there[strings.TrimPrefix(string(kv.Key), e.prefix)] = true
			r.set(e, string(kv.Key), kv.Value, kv.CreateRevision, kv.ModRevision)
		}
	}
	for id := range r.gateways {
		if !there[gatewayPrefix+id] {
			r.remove(gatewayPrefix + id)
		}
	}
	maps.DeleteFunc(r.tickets, func(name string, _ int64) bool { return !there[name] })
	r.announce()
	return nil
}

// known returns the revision up to which the registry is known.
func (r *registry) known() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return max(r.revision, r.queue)
}

// check forgets everything if etcd has gone back, as after it was restored from a
// snapshot: if it answers with an earlier revision than was known before it was asked.
func (r *registry) check(known, answered int64) {
	if answered >= known {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revision, r.queue = 0, 0
	clear(r.gateways)
	clear(r.tickets)
	r.unwatch()
	r.announce()
}

// set notes a registration or a ticket. Others may have written something else between
// the two, which belongs to them. The caller holds mu.
func (r *registry) set(e *etcd, key string, value []byte, made, revision int64) {
	name := strings.TrimPrefix(key, e.prefix)
	if isTicket(name) {
		r.tickets[name] = made
	}
	id, isGateway := registrationAt(name)
	if !isGateway {
		return
	}
	found, err := e.openRegistration(id, value, revision)
	if before, known := r.gateways[id]; err != nil && !(known && before.State == "") { // it was not said before
		r.log.Error("a registration of the fleet cannot be read: what is taken away from now on cannot be confirmed. The integrity_key of that gateway or of this one may be wrong. Delete the registration only if its gateway has gone",
			zap.String("registration", key), zap.Error(err))
	}
	r.gateways[id] = found
}

// remove forgets a registration or a ticket. The caller holds mu.
func (r *registry) remove(name string) {
	delete(r.tickets, name)
	id := strings.TrimPrefix(name, gatewayPrefix)
	delete(r.gateways, id)
	delete(r.ahead, id)
}

// compareClocks notes how far the clock of a gateway is ahead, which has just been heard
// to have written its registration. The caller holds mu.
func (r *registry) compareClocks(name string) {
	id := strings.TrimPrefix(name, gatewayPrefix)
	g, there := r.gateways[id]
	if there && g.State != "" && g.State != apikey.GatewayFenced { // which others write
		r.ahead[id] = time.Until(time.UnixMilli(g.WallMS))
	}
}

// announce wakes those who wait for a change. The caller holds mu.
func (r *registry) announce() {
	if r.serving != nil {
		r.serving(countServing(r.gateways))
	}
	close(r.changed)
	r.changed = make(chan struct{})
}
