// Package authn decides whether a request may pass.
//
// It promises that nothing passes by accident: the zero [Decision] is a
// refusal, every error, timeout and panic of the store is one too, and a key
// that was revoked is refused by every check that begins after
// [Authenticator.Changed] has returned. It does not depend on an HTTP server: the
// caller passes in the [Facts] of a request, and turns the Decision into a response.
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

// Source is where the authenticator looks up keys that are not in its cache.
type Source interface {
	// Grant returns what the key grants whose token has the digest, in any status, or
	// [apikey.ErrNotFound]. Any other error means that the source is unavailable.
	Grant(apikey.Digest) (apikey.Grant, error)
	// MayHave reports whether Grant may find the digest; if not, there is no such
	// key. It never blocks.
	MayHave(apikey.Digest) bool
	// Prefixes returns the prefixes of all tokens that were created here.
	Prefixes() *apikey.Prefixes
	// SuspendedWorkspaces returns the ids of all suspended workspaces.
	SuspendedWorkspaces() ([]string, error)
}

// Authenticator judges requests. It is safe for concurrent use. Requests whose keys
// are cached share no lock.
type Authenticator struct {
	keys      *cache
	prefixes  *apikey.Prefixes
	suspended suspensions
	streams   streams
	uses      uses
	usages    usages
	limiter   *ratelimit.Limiter
	limited   limited
	ended     atomic.Int64 // the latest end of a key refused because it had ended, in milliseconds since 1970
	confirmed atomic.Int64 // only ends up to this time count, likewise
	closed    atomic.Bool
	retired   atomic.Bool
	lease     Lease         // nil if none is required
	gateways  atomic.Int64  // how many share limits that are for a fleet
	histories atomic.Uint64 // counts how often the source has gone back, or was out of date: see apikey.Outcome
	now       func() time.Time
}

// New returns an authenticator that caches up to cacheSize keys of the source. Call
// Changed for every change to the source, and Close at the end. The log gets an entry
// for every failed look-up, so it should be sampled.
func New(source Source, cacheSize int, now func() time.Time, log *zap.Logger) (*Authenticator, error) {
	ids, err := source.SuspendedWorkspaces()
	if err != nil {
		return nil, fmt.Errorf("reading the suspended workspaces: %w", err)
	}
	keys, err := newCache(source, cacheSize, log)
	if err != nil {
		return nil, err
	}
	a := &Authenticator{keys: keys, prefixes: source.Prefixes(), now: now, limiter: ratelimit.New()}
	a.gateways.Store(1)
	a.suspended.replace(ids)
	a.streams.wake = make(chan struct{}, 1)
	go a.watch()
	return a, nil
}

// Changed invalidates what a change has made stale. It must be called after the change
// is durable and before its caller is answered: then no check that begins after that
// answer sees the old state.
func (a *Authenticator) Changed(outcome apikey.Outcome) {
	if outcome.GoesBack || outcome.AllStale {
		a.histories.Add(1)
	}
	if outcome.AllStale {
		a.keys.forgetAll()
		a.streams.hurry()
	}
	if outcome.InDoubt { // before the keys are forgotten
		a.keys.doubted.add(outcome.Ended, outcome.Ending)
	}
	if outcome.Settled {
		for digest := range a.keys.doubted.clear() {
			a.keys.forget(digest)
		}
	}
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

// Close makes every later check return Unavailable, and ends all streams: once the
// source is closed, changes are no longer reported.
func (a *Authenticator) Close() {
	if a.closed.Swap(true) {
		return
	}
	a.keys.readers.close()
	a.streams.round.Add(1)
	a.streams.hurry()
}

// Retire says whether another source has taken over, so that only requests from before
// still arrive. They are judged as usual, but endless streams are ended: keys are now
// revoked at the other source.
func (a *Authenticator) Retire(retired bool) {
	a.retired.Store(retired)
	a.streams.round.Add(1)
	a.streams.hurry()
}

// Remember sets how many keys are cached.
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
	history := a.histories.Load() // before the look-up
	key, lookup, problem := a.find(ctx, policy, facts)
	d.Lookup = lookup
	if problem != "" {
		return d.refuse(problem)
	}
	// The clock is read after the look-up, which may have taken a while.
	d.Key, d.Signed, d.At = &key.Grant, &key.signed, a.now()
	if result := a.judge(d.Key, d.At); result != Allowed {
		a.usages.count(key, asRefused, d.At)
		return d.refuse(result)
	}
	if a.histories.Load() != history { // the key may be as it was before it was revoked
		return d.refuse(Unavailable)
	}
	if facts.Before == nil {
		a.uses.note(key, d.At, facts.Client)
	}
	if facts.Browser && !policy.AllowBrowsers {
		a.usages.count(key, asRefused, d.At)
		return d.refuse(Browser)
	}
	if d.Action == Write && !key.MayWrite {
		a.usages.count(key, asRefused, d.At)
		return d.refuse(ReadOnly)
	}
	if !a.count(&d, policy, facts, key) {
		a.limited.note(key.ID(), d.At)
		a.usages.count(key, asLimited, d.At)
		return d.refuse(RateLimited)
	}
	if facts.Before == nil {
		a.usages.count(key, counterOf(d.Action), d.At)
	}
	d.Result = Allowed
	return d
}

// find returns the key that a request is judged by, or why it is refused without one.
func (a *Authenticator) find(ctx context.Context, policy *Policy, facts *Facts) (*entry, Lookup, Result) {
	may := a.mayJudge() // before the look-up
	key, presented := a.recall(facts)
	if may && key != nil && !key.Imported {
		return key, Hit, ""
	}
	digest, problem := facts.credential(policy, a.prefixes, presented)
	switch {
	case problem != "":
		return nil, "", problem
	case !may:
		return nil, "", Unavailable
	case key != nil:
		return key, Hit, ""
	}
	get := a.keys.get
	if presented != (apikey.Digest{}) { // it is not cached
		get = a.keys.look
	}
	key, lookup, err := get(ctx, digest)
	if err != nil {
		return nil, lookup, reasonFor(err)
	}
	return key, lookup, ""
}

// recall returns the cached key whose token the request presents, or nil, and the digest of
// what it presents, or zero. It does not look at the form of the token, which costs more
// than finding it: what has the digest of a token that was made here is that token. The
// token of an imported key can have any form.
func (a *Authenticator) recall(facts *Facts) (*entry, apikey.Digest) {
	if facts.Before != nil {
		return nil, apikey.Digest{}
	}
	presented, problem := facts.presented()
	if problem != "" {
		return nil, apikey.Digest{}
	}
	digest, ok := apikey.DigestOf(presented)
	if !ok {
		return nil, apikey.Digest{}
	}
	key, _ := a.keys.cached(digest)
	return key, digest
}

func (a *Authenticator) noteEnd(at time.Time) {
	end := at.UnixMilli()
	if end > a.confirmed.Load() {
		return
	}
	for last := a.ended.Load(); end > last && !a.ended.CompareAndSwap(last, end); last = a.ended.Load() {
	}
}

// LatestEnd returns the latest end of a key that was refused because it had ended. Once
// that time is recorded as passed, no such key can become valid again. Call it every
// second with the confirmed time: ends that only a clock that is ahead has reached do
// not count.
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

// Sweep frees the rate limit counts of keys that have not been used within their
// windows. Call it from time to time.
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
