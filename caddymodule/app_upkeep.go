package caddymodule

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

const (
	// usesInterval is how often last uses are written, the garbage collector is
	// tuned, and the time is recorded if a key was refused that ended since.
	usesInterval = time.Second
	// usageInterval is how often the counts of usage are written. What is shown may be
	// twice as old, which is ten seconds.
	usageInterval = 5 * time.Second
	// upkeepInterval is how often the time is recorded, idle rate limits are
	// dropped, and keys that have ended are moved.
	upkeepInterval = time.Minute
	// deleteInterval is how often audit events, ended keys and ended calendar feeds
	// are deleted that are older than the audit retention.
	deleteInterval = time.Hour
)

// runUpkeep does the short work that requests leave to the background.
func (i *instance) runUpkeep(ctx context.Context) {
	tick, uses, usage := time.NewTicker(upkeepInterval), time.NewTicker(usesInterval), time.NewTicker(usageInterval)
	defer tick.Stop()
	defer uses.Stop()
	defer usage.Stop()
	written, counted := true, true
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-uses.C:
			garbage.tune()
			err := i.authn.FlushUses(now, i.settings.Load().lastUsedResolution, i.store.NoteUses)
			if written && err != nil { // it is retried every second: log the first failure
				i.log.Warn("could not write last-used times to the key store; retrying every second", zap.Error(err))
			}
			written = err == nil
			i.recordEnds()
		case <-usage.C:
			err := i.authn.FlushUsage(i.store.NoteUsage)
			if counted && err != nil { // likewise
				i.log.Warn("could not write usage counts to the key store; retrying every 5 seconds", zap.Error(err))
			}
			counted = err == nil
		case <-tick.C:
			i.authn.Sweep()
			i.signing.Sweep(i.clock.Now())
			changes.Sweep(time.Now())
			i.recordClock()
		case e := <-i.exposures:
			i.recordExposure(ctx, e)
		}
	}
}

// runCleanup moves ended keys aside and deletes what is too old. It may take long,
// so it has a goroutine of its own.
func (i *instance) runCleanup(ctx context.Context) {
	settle, remove := time.NewTicker(upkeepInterval), time.NewTicker(deleteInterval)
	defer settle.Stop()
	defer remove.Stop()
	i.settleEnds(ctx)
	i.deleteOld(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-settle.C:
			i.settleEnds(ctx)
		case <-i.clockSet: // keys may be active again
			i.settleEnds(ctx)
		case <-remove.C:
			i.deleteOld(ctx)
		}
	}
}

// settleEnds moves keys that have ended out of the lists of active ones.
func (i *instance) settleEnds(ctx context.Context) {
	if err := i.store.SettleEnds(ctx, i.clock.Confirmed()); err != nil && ctx.Err() == nil {
		i.log.Warn("could not move ended keys out of the list of active ones; retrying every minute, and listing keys is slower until then", zap.Error(err))
	}
}

// deleteOld deletes what is older than the audit retention.
func (i *instance) deleteOld(ctx context.Context) {
	now := i.clock.Confirmed() // what a wrong clock deletes cannot be restored
	before := now.Add(-i.settings.Load().auditRetention)
	for _, old := range []struct {
		what   string
		delete func(ctx context.Context, before, now time.Time) (int, error)
	}{
		{"messages to webhooks that are no longer configured", func(ctx context.Context, _, _ time.Time) (int, error) { return i.store.ForgetMessages(ctx) }},
		{"old audit events", i.store.ForgetEvents},
		{"old keys", i.store.ForgetKeys},
		{"records of ended calendar feeds", i.store.ForgetFeeds},
	} {
		n, err := old.delete(ctx, before, now)
		if n > 0 {
			i.log.Info("deleted "+old.what, zap.Int("deleted", n), zap.Time("before", before))
		}
		if err != nil {
			if ctx.Err() == nil {
				i.log.Warn("could not delete "+old.what, zap.Error(err))
			}
			return // the others would fail for the same reason
		}
	}
	if err := i.store.ForgetUsage(ctx, now); err != nil && ctx.Err() == nil {
		i.log.Warn("could not delete old usage counts", zap.Error(err))
	}
}

// recordEnds records the time if a key was refused that has ended since the last
// record, so that a clock set back does not revive it.
func (i *instance) recordEnds() {
	if i.authn.LatestEnd(i.clock.Confirmed()).After(i.recorded) {
		i.recordClock()
	}
}

// recordClock records the time in the store.
func (i *instance) recordClock() {
	var shift authn.ClockShift
	var note apikey.ClockNote
	err := i.store.NoteClock(func() apikey.ClockNote {
		note, shift = i.clock.Note()
		return note
	})
	i.logClockShift(shift)
	if err != nil {
		i.log.Warn("could not record the time in the key store", zap.Error(err))
		return
	}
	i.recorded = note.Confirmed
}

// logClockBehind logs that the machine's clock is behind the store's.
func (i *instance) logClockBehind() {
	reading := i.clock.Read()
	if reading.Status() != apikey.ClockBehind {
		return
	}
	i.log.Error("this machine's clock is behind the latest time recorded in the key store: keys are judged by the recorded time. "+
		"If the clock is right, run: caddy api-keys clock --trust",
		zap.Duration("behind", -reading.Offset()), zap.Time("clock", reading.Machine), zap.Time("seen", reading.Judged))
}

// logClockShift logs what became of a machine's clock that was ahead.
func (i *instance) logClockShift(shift authn.ClockShift) {
	switch shift.What {
	case authn.ClockJumped:
		i.log.Error("this machine's clock has jumped implausibly far ahead: keys are judged by it, but nothing is deleted. "+
			"If the clock is right, run: caddy api-keys clock --trust. If it is wrong, correct it, and the keys that it expired are valid again",
			zap.Duration("ahead", shift.By), zap.Time("clock", i.clock.Read().Machine))
	case authn.ClockCorrected:
		i.log.Warn("this machine's clock was ahead and has been corrected: the keys that it expired are valid again",
			zap.Duration("was_ahead", shift.By), zap.Time("clock", i.clock.Read().Machine))
	case authn.ClockConfirmed:
		i.log.Info("this machine's clock has been ahead long enough to be trusted",
			zap.Duration("ahead", shift.By), zap.Duration("after", apikey.ConfirmAfter))
	}
}

// exposure is a key that was used from a browser.
type exposure struct {
	key      *apikey.Grant
	remoteIP string
}

// exposed has it recorded that a key was used from a browser. It never blocks: if
// the queue is full, the key's next use in a browser is recorded instead.
func (i *instance) exposed(key *apikey.Grant, remoteIP string) {
	select {
	case i.exposures <- exposure{key, remoteIP}:
	default:
	}
}

func (i *instance) recordExposure(ctx context.Context, e exposure) {
	now := i.clock.Now().UTC().Truncate(time.Millisecond)
	_, err := i.store.Apply(ctx, apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: gatewayActor, RemoteIP: e.remoteIP,
		Do: apikey.Expose{WorkspaceID: e.key.WorkspaceID(), KeyID: e.key.ID()},
	})
	if err != nil {
		i.log.Warn("could not record that a key was used in a browser", zap.String("api_key_id", e.key.ID()), zap.Error(err))
	}
}
