package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// committedAtOnce is the number of changes that this gateway commits together. Most
	// write a key and an event.
	committedAtOnce = maxRecords / 2
	// maxRecords is the number of records and messages that are committed together: etcd allows 128
	// operations in one transaction, unless it is configured otherwise.
	maxRecords = 120
	// commitTimeout bounds how long a change may take to be committed and applied.
	commitTimeout = 10 * time.Second
)

// Commit makes a change: see store.Log.
func (f *Fleet) Commit(ctx context.Context, change apikey.Change, urgent bool, applied func(apikey.Planned) error) (apikey.Outcome, error) {
	r := &request{ctx: ctx, change: change, applied: applied, done: make(chan result, 1)}
	if err := f.queue.add(urgent, r); err != nil {
		return apikey.Outcome{}, f.answer(err)
	}
	done := f.queue.await(r)
	if done.err != nil {
		return apikey.Outcome{}, f.answer(done.err)
	}
	outcome := done.known()
	if waitsForOthers(change.Do) {
		outcome.Propagation = f.confirm(ctx, done.at, done.serving)
	}
	return outcome, nil
}

// CommitAll makes several changes: see store.Log.
func (f *Fleet) CommitAll(ctx context.Context, changes []apikey.Change, applied func(int, apikey.Planned) error) []apikey.Planned {
	all := make([]*request, len(changes))
	for i, change := range changes {
		all[i] = &request{ctx: ctx, change: change, done: make(chan result, 1)}
		all[i].applied = func(planned apikey.Planned) error { return applied(i, planned) }
	}
	results := make([]apikey.Planned, len(changes))
	err := f.queue.add(false, all...)
	for i, r := range all {
		done := result{err: err}
		if err == nil {
			done = f.queue.await(r)
		}
		if done.err != nil {
			results[i].Err = f.answer(done.err)
			continue
		}
		results[i].Outcome = done.known()
	}
	return results
}

// known returns the outcome of a change that takes no access away.
func (r *result) known() apikey.Outcome {
	outcome := r.outcome
	outcome.Propagation = apikey.Propagation{Confirmed: true, Revision: r.at.Seq, Gateways: countServing(r.serving)}
	return outcome
}

// waitsForOthers reports whether the other gateways are waited for after an action, which
// can take access away.
func waitsForOthers(do apikey.Action) bool {
	switch do := do.(type) {
	case apikey.Revoke, apikey.RevokeAll, apikey.Suspend, apikey.Rotate:
		return true
	case apikey.Leak:
		return do.Revoke
	case apikey.PutBack:
		return !do.More
	}
	return false
}

// answer returns the error for the caller of a change.
func (f *Fleet) answer(err error) error {
	if _, refused := errors.AsType[*apikey.Error](err); refused {
		return err
	}
	switch {
	case errors.Is(err, errAmbiguous), errors.Is(err, errAbandoned):
		return &unavailable{apikey.ErrFleetInDoubt, err}
	case errors.Is(err, rpctypes.ErrNoSpace):
		return &unavailable{apikey.ErrFleetFull, err}
	case errors.Is(err, apikey.ErrStoreUnavailable): // the replica says why
		return err
	}
	return &unavailable{f.noChange(err), err}
}

// noChange returns what to tell the caller of a change that cannot be made because of an error.
func (f *Fleet) noChange(err error) *apikey.Error {
	if errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrCorrupt) {
		return apikey.ErrFleetNoPart // it may still read
	}
	why := f.problem.Load()
	if why == nil || isSilence(*why) {
		return apikey.ErrFleetUnavailable
	}
	if errors.Is(*why, rpctypes.ErrNoSpace) {
		return apikey.ErrFleetFull
	}
	if _, lacks := errors.AsType[*otherKeyError](*why); lacks {
		return apikey.ErrFleetKeyMissing
	}
	return apikey.ErrFleetNoPart
}

// commitAll commits the changes that this gateway is asked for, until ctx is done.
func (f *Fleet) commitAll(ctx context.Context) {
	wake := f.queue.signal()
	for {
		for !f.queue.empty() && ctx.Err() == nil {
			some, urgent := f.queue.take(committedAtOnce)
			if len(some) > 0 {
				f.commitSome(ctx, some, urgent)
			}
		}
		select {
		case <-wake:
		case <-ctx.Done(): // what is left waits for other options to be adopted, or is refused
			return
		}
	}
}

func finish(some []*request, err error) {
	for _, r := range some {
		r.done <- result{err: err}
	}
}

// commitSome commits changes together, as many of them as fit.
func (f *Fleet) commitSome(ctx context.Context, some []*request, urgent bool) {
	if err := f.awaitFollowing(ctx); err != nil {
		finish(some, err)
		return
	}
	// What has been begun is finished, even if the gateway shuts down.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	a := &attempt{fleet: f, etcd: f.connection(), urgent: urgent}
	defer a.leaveQueue()
	for {
		planned, done, err := a.try(ctx, some)
		switch {
		case err != nil:
			finish(some, err)
			return
		case done:
			if rest := some[planned:]; len(rest) > 0 {
				f.queue.putBack(rest, urgent)
			}
			return
		}
	}
}

// awaitFollowing waits until this gateway follows its fleet.
func (f *Fleet) awaitFollowing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	if _, err := f.progress.reach(ctx, point.current); err != nil {
		return fmt.Errorf("this gateway does not follow its fleet: %s", f.reason())
	}
	return nil
}
