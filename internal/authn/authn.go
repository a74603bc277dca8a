// Package authn decides whether a request may pass.
//
// It promises that nothing passes by accident: the zero [Decision] is a
// refusal, every error, timeout and panic of the store is one too, and a key
// that was revoked is refused by every check that begins after
// [Authenticator.Changed] has returned. It knows no HTTP server: its user tells
// it the [Facts] of a request, and turns its Decision into an answer.
package authn

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// Source is where the authenticator looks up what it does not remember.
type Source interface {
	// Lookup returns the key whose token has the digest, whatever its status,
	// or [apikey.ErrNotFound]. Any other error means that it cannot tell.
	Lookup(apikey.Digest) (*apikey.Key, error)
	// MayHave reports whether Lookup may find the digest: where it says no,
	// there is no such key. It waits for nothing.
	MayHave(apikey.Digest) bool
	// SuspendedWorkspaces returns the ids of all suspended workspaces.
	SuspendedWorkspaces() ([]string, error)
}

// Authenticator judges requests. It is safe for concurrent use, and shares no
// lock between requests whose keys it remembers.
type Authenticator struct {
	keys      *cache
	suspended suspensions
	streams   streams
	uses      uses
	limiter   *ratelimit.Limiter
	limited   limited
	ended     atomic.Int64 // the latest end of a key that was refused for it, in milliseconds since 1970
	confirmed atomic.Int64 // the ends up to this time count for that, likewise
	closed    atomic.Bool
	retired   atomic.Bool
	now       func() time.Time
}

// New returns an authenticator that remembers up to cacheSize keys of the
// source. It must be told of every change to the source by Changed, and closed. A
// source that fails does so for every request, and log is told each time.
func New(source Source, cacheSize int, now func() time.Time, log *zap.Logger) (*Authenticator, error) {
	ids, err := source.SuspendedWorkspaces()
	if err != nil {
		return nil, fmt.Errorf("reading the suspended workspaces: %w", err)
	}
	keys, err := newCache(source, cacheSize, log)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{keys: keys, now: now, limiter: ratelimit.New()}
	a.suspended.replace(ids)
	a.streams.wake = make(chan struct{}, 1)
	go a.watch()
	return a, nil
}

// Changed forgets what a change made untrue. It must be called after the change
// is durable and before whoever asked for it is answered: then no check that
// begins after that answer sees the old state.
func (a *Authenticator) Changed(outcome apikey.Outcome) {
	for _, digest := range outcome.Stale {
		a.keys.forget(digest)
	}
	ws := outcome.Workspace
	if ws.ID != "" {
		a.suspended.set(ws.ID, ws.Suspended())
	}
	if len(outcome.Ended) > 0 || ws.Suspended() {
		a.streams.hurry()
	}
}

// Close makes every later check answer that it cannot tell, and ends all streams:
// once the source is closed, nothing says any more what has changed.
func (a *Authenticator) Close() {
	if a.closed.Swap(true) {
		return
	}
	a.keys.readers.close()
	a.streams.round.Add(1)
	a.streams.hurry()
}

// Retire says whether requests come only from before another source took over.
// They are still judged, but streams that have no end of their own are ended:
// whoever revokes a key now does so at the other source.
func (a *Authenticator) Retire(retired bool) {
	a.retired.Store(retired)
	a.streams.round.Add(1)
	a.streams.hurry()
}

// Remember sets how many keys are remembered.
func (a *Authenticator) Remember(cacheSize int) { a.keys.resize(cacheSize) }

// Check judges a request. The rules are applied in the order in which the
// documentation states them, so that a request that breaks several is always
// refused for the same reason.
func (a *Authenticator) Check(ctx context.Context, policy *Policy, facts *Facts) Decision {
	d := Decision{Action: policy.action(facts)}
	if facts.forbiddenMethod() {
		return d.refuse(MethodNotAllowed)
	}
	if facts.EarlyData && d.Action == Write {
		return d.refuse(EarlyData)
	}
	if facts.Preflight {
		return d.refuse(Preflight)
	}
	digest, problem := facts.credential()
	if problem != "" {
		return d.refuse(problem)
	}
	if a.closed.Load() {
		return d.refuse(Unavailable)
	}
	key, lookup, err := a.keys.get(ctx, digest)
	d.Lookup = lookup
	if err != nil {
		return d.refuse(reasonFor(err))
	}
	// The clock is read after the look-up, which may have taken a while.
	d.Key, d.At = &key.Key, a.now()
	if result := a.judge(d.Key, d.At); result != Allowed {
		return d.refuse(result)
	}
	if facts.Before == nil {
		a.uses.note(&key.use, d.At, facts.Client)
	}
	if facts.Browser && !policy.AllowBrowsers {
		return d.refuse(Browser)
	}
	if d.Action == Write && key.Preset != apikey.FullAccess {
		return d.refuse(ReadOnly)
	}
	if limit := policy.limit(d.Action); limit.N > 0 && !facts.Before.counted(d.Action, limit) {
		d.Limit = limit
		bucket := bucket(d.Action)
		d.Usage = a.limiter.Allow(key.ID, bucket, limit, d.At, &key.buckets[bucket])
		if !d.Usage.Allowed {
			a.limited.note(key.ID, d.At)
			return d.refuse(RateLimited)
		}
	}
	d.Result = Allowed
	return d
}

func (a *Authenticator) noteEnd(at time.Time) {
	end := at.UnixMilli()
	if end > a.confirmed.Load() {
		return
	}
	for last := a.ended.Load(); end > last && !a.ended.CompareAndSwap(last, end); last = a.ended.Load() {
	}
}

// LatestEnd returns the latest time at which a key has ended that was refused for
// it. Once the clock is known to have come so far, whatever happens, none of these
// keys comes back. It is to be called every second with the time that is confirmed:
// the ends that only a clock which is ahead has reached do not count.
func (a *Authenticator) LatestEnd(confirmed time.Time) time.Time {
	until := confirmed.Add(2 * time.Second).UnixMilli() // when it is called again, at the latest
	a.confirmed.Store(until)
	latest := a.ended.Load()
	if latest > until { // the confirmed time was set back
		a.ended.CompareAndSwap(latest, 0)
		latest = 0
	}
	return time.UnixMilli(latest)
}

// bucket keeps the reads of a key apart from its writes.
func bucket(action Action) uint8 {
	if action == Read {
		return 0
	}
	return 1
}

// Sweep lets go of the counts of keys that have not been used for as long as
// their limits look back, and of those that no limit refused of late. It is to
// be called now and then.
func (a *Authenticator) Sweep() {
	now := a.now()
	a.limiter.Sweep(now)
	a.limited.count(now)
}

func reasonFor(err error) Result {
	if err == errUnknown {
		return Unknown
	}
	return Unavailable
}
