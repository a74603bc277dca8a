package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

// Replica is this gateway's copy of the fleet's records: a store that follows the fleet.
type Replica interface {
	// Path is where the replica is.
	Path() string
	// Position returns how far the replica has followed the fleet. complete is false while
	// it has to be reloaded.
	Position() (at apikey.Position, complete bool, err error)
	// Plan returns what changes would write, and makes none of them.
	Plan(changes []apikey.Change, most int) (apikey.Plan, error)
	// Replay applies what follows a position, and tells the data plane of it. If it fails,
	// what the records end is refused, as by Refuse.
	Replay(ctx context.Context, from, to apikey.Position, records []apikey.Record) error
	// Refuse has what records end refused until Settle is called.
	Refuse(records []apikey.Record)
	// Settle says that the replica has all that the fleet has. It ends the refusal unless the
	// replica lacks one of some events, which it returns then.
	Settle(events []string, lost bool) (lacks []string, err error)
	// Has reports whether the replica has records with just these values.
	Has(records []apikey.Record) (bool, error)
	// BeginReload begins to replace all records.
	BeginReload(ctx context.Context) (Reload, error)
	// SharedUses returns the uses of keys, by id, that exist and were used.
	SharedUses(ids []string) (map[string]apikey.SharedUse, error)
	// MergeUses notes uses that other gateways have seen, by id, and returns the ids of
	// keys that do not exist.
	MergeUses(uses map[string]apikey.SharedUse) (unknown []string, err error)
	// Announce writes the messages to webhooks that are due by now, which has passed for
	// certain, and reports whether there are more. full is where there is no room for any.
	Announce(ctx context.Context, now time.Time, full []string) (more bool, err error)
	// Receives reports whether this gateway has a receiver of webhooks.
	Receives(receiver string) bool
	// UsageOrigin returns the origin under which this gateway counts since it was started.
	UsageOrigin() string
	// UsageNote returns what NoteUsageTold and NoteUsageMerged have noted, and the origins
	// of earlier starts.
	UsageNote() (apikey.UsageNote, error)
	// NoteUsageTold notes that what was counted under some origins is in etcd.
	NoteUsageTold(origins []string) error
	// NoteUsageMerged notes up to which revision of etcd MergeUsage was called.
	NoteUsageMerged(revision int64) error
	// EachUsage calls visit for all that was counted under some origins since a day.
	EachUsage(ctx context.Context, origins []string, since apikey.Day, visit func(origin string, one apikey.KeyDay, usage apikey.Usage)) error
	// MergeUsage notes the totals of a day under an origin, by key.
	MergeUsage(origin string, day apikey.Day, totals map[string]apikey.Usage) error
	// Contact returns what NoteContact has recorded, and a time that has certainly passed.
	Contact() (c apikey.Contact, confirmed time.Time, err error)
	// NoteContact records what a gateway in static mode has to know after a restart.
	NoteContact(ctx context.Context, c apikey.Contact) error
	// BeginComparison begins to find out what the replica has and etcd has lost. Finish
	// keeps it if it is at most so many records.
	BeginComparison(most int) (Comparison, error)
	// Kept returns how many records are kept.
	Kept() (int, error)
	// PutBack commits what is kept with Commit, unless it is in etcd already, and keeps
	// it no longer. It calls committed now and then, with how many records are left.
	PutBack(ctx context.Context, committed func(o apikey.Outcome, left int)) error
}

// Reload replaces the records of a replica.
type Reload interface {
	Add(ctx context.Context, records []apikey.Record) error
	// Finish ends the reload. set is the hash of the records that were added.
	Finish(ctx context.Context, at apikey.Position, set *sethash.Hash) error
	Close()
}

// Fleet is this gateway's part in a fleet. It is safe for concurrent use.
type Fleet struct {
	replica Replica
	log     *zap.Logger
	started time.Time

	options  atomic.Pointer[Options]
	etcd     atomic.Pointer[etcd]
	id       atomic.Pointer[string] // of the current registration
	lease    lease
	progress *progress
	registry *registry
	queue    queue
	uses     uses
	outbox   *Outbox
	usage    *usage

	watches      atomic.Int64 // how many have been opened
	restartWatch atomic.Pointer[context.CancelCauseFunc]
	applying     atomic.Bool   // changes are being written to the replica
	reload       atomic.Bool   // the replica has to be refilled
	settleAt     uint64        // the change from which on settle is to be called, in this session
	unapplied    unapplied     // for the goroutines that take part in the fleet
	unwritten    refusal       // likewise: see unlessFull
	closed       chan struct{} // closed once the gateway is being stopped

	space     atomic.Pointer[apikey.FleetSpace]
	latest    atomic.Pointer[apikey.Head] // the latest change that etcd is known to have
	problem   atomic.Pointer[error]       // why the gateway cannot take part, if it cannot
	noted     apikey.Contact              // what the replica has recorded for this gateway
	former    []string                    // ids of earlier registrations that are to be removed
	inherited inherited                   // those of them that an earlier process has left
	last      *membership                 // that of the last session, if it may be continued

	reconciling reconciling

	mu         sync.Mutex // held while the gateway starts or stops to take part
	background []*background
}

// background is a goroutine that can be stopped.
type background struct {
	stop context.CancelFunc
	done chan struct{}
}

func inBackground(run func(context.Context)) *background {
	ctx, stop := context.WithCancel(context.Background())
	b := &background{stop, make(chan struct{})}
	go func() {
		defer close(b.done)
		run(ctx)
	}()
	return b
}

// Open starts to take part in a fleet. It does not wait for etcd: until the gateway has a
// lease, [Fleet.Live] is false and changes fail.
func Open(o Options, replica Replica) (*Fleet, error) {
	f := &Fleet{replica: replica, log: o.Log, started: time.Now(), closed: make(chan struct{}), progress: newProgress(), registry: newRegistry(o.Log, o.Serving), usage: newUsage(replica.UsageOrigin())}
	f.outbox = newOutbox(f)
	f.lease.clock = thisInstant
	if o.clock != nil {
		f.lease.clock = o.clock
	}
	f.lease.tell(
		func() {
			o.Log.Error("the lease of this gateway has ended: it refuses all requests until it has heard from its fleet", zap.String("problem", f.reason()))
		},
		func() { o.Log.Info("this gateway has a lease again, and serves requests") })
	f.reconciling.retry = make(chan struct{}, 1)
	if err := f.resume(&o); err != nil {
		return nil, err
	}
	e, err := dial(&o)
	if err != nil {
		return nil, err
	}
	f.start(&o, e)
	return f, nil
}

// start begins to take part through a connection to etcd.
func (f *Fleet) start(o *Options, e *etcd) {
	f.options.Store(o)
	if old := f.etcd.Swap(e); old != nil {
		defer old.close()
	}
	f.background = []*background{
		inBackground(f.commitAll), // stopped first: it needs the others
		inBackground(f.run),
		inBackground(f.watchSpace),
		inBackground(f.shareUses),
		inBackground(f.followUsage),
		inBackground(f.tellUsage),
		inBackground(func(ctx context.Context) { f.registry.follow(ctx, f.connection) }),
	}
}

// halt ends what start began, and waits for it. The lease continues. The caller holds mu.
func (f *Fleet) halt() {
	for _, b := range f.background {
		b.stop()
		<-b.done
	}
}

// Adopt continues with other options. Those that concern what is in the fleet, its prefix,
// cannot change.
func (f *Fleet) Adopt(o Options) error {
	if !f.options.Load().sameFleet(&o) {
		return errors.New("the prefix of a fleet cannot change while its replica is open: use another path")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	e, err := dial(&o)
	if err != nil {
		return err
	}
	f.halt()
	f.lease.shorten(o.lease())
	f.start(&o, e)
	return nil
}

// Close stops serving, and leaves the fleet. A change that waits for other gateways returns
// as pending. It must be called once.
func (f *Fleet) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.closed)
	f.lease.end()
	f.halt()
	f.shareLastUses()
	f.tellLastUsage()
	f.queue.close()
	f.etcd.Load().close()
}

func (f *Fleet) closing() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// connection returns the connection to etcd, until the gateway adopts other options. Then
// that is closed: a caller that waits for longer than one call asks again.
func (f *Fleet) connection() *etcd { return f.etcd.Load() }

// Live reports whether this gateway may judge requests now.
func (f *Fleet) Live() bool { return f.lease.remaining() > 0 }

// fail notes why the gateway cannot take part, and logs it the first time.
func (f *Fleet) fail(err error) {
	if errors.Is(err, errCompacted) {
		f.reload.Store(true)
	}
	if errors.Is(err, errHistory) {
		f.reconciling.another.Store(true)
	}
	if before := f.problem.Swap(&err); before == nil || oneLine(*before) != oneLine(err) {
		f.log.Error("this gateway cannot take part in its fleet; trying again", zap.Error(err), zap.Bool("serving", f.Live()))
	}
}

// Problem returns why the gateway cannot take part in its fleet, "" if it can. It may still
// be serving, under its last lease.
func (f *Fleet) Problem() string {
	if why := f.problem.Load(); why != nil {
		return oneLine(*why)
	}
	return ""
}

// Refusal returns what to tell clients while the gateway may not judge requests.
func (f *Fleet) Refusal() *apikey.Error {
	why := f.problem.Load()
	switch {
	case f.hasGoneBack():
		return apikey.ErrFleetLost
	case why != nil && errors.Is(*why, errFenced):
		return apikey.ErrFleetExcluded
	case why != nil && errors.Is(*why, rpctypes.ErrNoSpace):
		return apikey.ErrFleetNoRoom
	case why != nil && !isSilence(*why):
		return apikey.ErrFleetUnusable
	case !f.lease.was.Load():
		return apikey.ErrFleetJoining
	}
	return apikey.ErrFleetSilent
}

// oneLine returns an error's text without the line breaks that joined errors have.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// reason returns why the gateway cannot take part.
func (f *Fleet) reason() string {
	if f.lease.was.Load() {
		return cmp.Or(f.Problem(), "etcd has not answered yet")
	}
	return cmp.Or(f.Problem(), "it has just started")
}

// succeed notes that the gateway takes part.
func (f *Fleet) succeed() {
	if f.problem.Swap(nil) != nil {
		f.log.Info("this gateway takes part in its fleet")
	}
}

// unavailable is an error for a client, with what an operator has to know.
type unavailable struct {
	answer *apikey.Error
	cause  error
}

func (u *unavailable) Error() string         { return fmt.Sprintf("the fleet: %v", u.cause) }
func (u *unavailable) Unwrap() error         { return u.cause }
func (u *unavailable) Answer() *apikey.Error { return u.answer }
func (u *unavailable) Is(target error) bool {
	return target == error(apikey.ErrStoreUnavailable) || target == error(u.answer)
}
