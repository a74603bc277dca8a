package fleet

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// usagePage is how many values are read at a time.
	usagePage = 128
	// usageWatch is how often the values of the last days are reread if they have changed,
	// in case the watch did not deliver them.
	usageWatch = 10 * time.Minute
	// aheadDays is how many days a gateway's clock may be ahead for its counts to be merged.
	aheadDays = 2
)

// followUsage merges what other gateways have counted until ctx is done.
func (f *Fleet) followUsage(ctx context.Context) {
	note, err := f.replica.UsageNote()
	if err != nil {
		f.log.Error("could not read how far this gateway has read the usage counts in etcd: reading all of them again", zap.Error(err))
	}
	f.usage.merged = max(f.usage.merged, note.Merged)
	since := oldestUsage // after a failure, values of any day may have been missed
	for failed := false; ctx.Err() == nil; {
		err := f.watchUsage(ctx, f.connection(), since(time.Now()))
		if ctx.Err() == nil && err != nil && !failed {
			f.log.Warn("could not read the usage counts of the other gateways; trying again", zap.Error(err))
		}
		since = lastUsage
		if failed = err != nil; failed {
			since = oldestUsage
			_ = pause(ctx, maxRetry)
		}
	}
}

// lastUsage is the first day of which gateways still count.
func lastUsage(now time.Time) apikey.Day { return apikey.DayOf(now) - 1 }

// watchUsage merges what was told of the days since one since the last time, and then what
// is told, for a while.
func (f *Fleet) watchUsage(ctx context.Context, e *etcd, since apikey.Day) error {
	ctx, cancel := context.WithTimeout(ctx, usageWatch)
	defer cancel()
	if err := f.readUsage(ctx, e, since); err != nil {
		return err
	}
	next := clientv3.WithRev(f.usage.merged + 1)
	for answer := range e.client.Watch(ownStream(ctx, "usage", 0), e.name(usagePrefix), clientv3.WithPrefix(), next) {
		if err := answer.Err(); err != nil {
			return explain(err)
		}
		for _, event := range answer.Events {
			if event.Type == clientv3.EventTypeDelete {
				continue
			}
			if err := f.mergeUsage(e, event.Kv); err != nil {
				return err
			}
		}
		f.usage.merged = answer.Header.Revision
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return errors.New("etcd has ended the watch")
}

// readUsage merges what was told of the days since one since the last time.
func (f *Fleet) readUsage(ctx context.Context, e *etcd, since apikey.Day) error {
	upTo := int64(0)
	for day := since; day <= apikey.DayOf(time.Now())+aheadDays; day++ {
		revision, err := f.readUsageOf(ctx, e, day)
		if err != nil {
			return err
		}
		if revision < f.usage.merged { // etcd was restored from a snapshot
			f.usage.merged = 0
			return errors.New("etcd has gone back: everything is read again")
		}
		if upTo == 0 {
			upTo = revision
		}
	}
	f.usage.merged = upTo
	if err := f.replica.NoteUsageMerged(upTo); err != nil {
		return err
	}
	f.usage.catchUp.Do(func() { close(f.usage.caughtUp) })
	return nil
}

// readUsageOf merges what was told of a day, and returns the revision as of which it was
// read.
func (f *Fleet) readUsageOf(ctx context.Context, e *etcd, day apikey.Day) (revision int64, err error) {
	var options []clientv3.OpOption
	if f.usage.merged > 0 { // etcd reads all to compare, so not if it has to send all anyway
		options = append(options, clientv3.WithMinModRev(f.usage.merged+1))
	}
	return e.eachPage(ctx, usageDayPrefix(day), usagePage, 0, func(found []*mvccpb.KeyValue) error {
		for _, kv := range found {
			if err := f.mergeUsage(e, kv); err != nil {
				return err
			}
		}
		return nil
	}, options...)
}

// mergeUsage merges a value, unless this gateway has written it since it was started.
func (f *Fleet) mergeUsage(e *etcd, kv *mvccpb.KeyValue) error {
	told, err := e.openUsage(kv)
	if err != nil {
		f.log.Warn("ignoring a usage count of another gateway, which cannot be read", zap.Error(err))
		return nil
	}
	today := apikey.DayOf(time.Now())
	if told.origin == f.usage.origin || told.day < oldestUsage(time.Now()) || told.day > today+aheadDays {
		return nil
	}
	return f.replica.MergeUsage(told.origin, told.day, told.totals)
}
