package fleet

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// usagePause is the shortest time between two rounds of telling. It is less than the five
	// seconds between two notes of usage, so that each is told without delay.
	usagePause = 4 * time.Second
	// usageBytes is how much of what is new all gateways of a fleet write in five seconds. With
	// the values that follow, it is fifty kilobytes a second: etcd keeps it for an hour or two,
	// until it is compacted. What is more waits for the next round, and what has waited for the
	// longest goes first.
	usageBytes = 200 << 10
	// usageBurst is how much that may be while etcd has used less than half of its quota.
	usageBurst = 4 * usageBytes
	// usageRequest is the size of one request; etcd allows 1.5 MiB.
	usageRequest = 256 << 10
	// additionSize is the size of an addition.
	additionSize = 64 << 10
	// forgetUsageEvery is how often what is too old is deleted.
	forgetUsageEvery = time.Hour
)

// tellUsage tells the other gateways what was counted here until ctx is done.
func (f *Fleet) tellUsage(ctx context.Context) {
	if err := f.addFormerUsage(ctx); err != nil && ctx.Err() == nil {
		f.log.Warn("could not read the usage counts from before this gateway was started: it sends them to the others after its next start", zap.Error(err))
	}
	for failed := false; ctx.Err() == nil; {
		some, most := f.usageShare()
		err := f.tellDueUsage(ctx, some, most)
		if err != nil && ctx.Err() == nil && !failed {
			f.log.Warn("could not send usage counts to the other gateways; trying again every few seconds", zap.Error(err))
		}
		failed = err != nil
		if err == nil {
			f.forgetUsage(ctx)
		}
		shortest := cmp.Or(f.options.Load().usagePause, usagePause)
		_ = pause(ctx, shortest)
		var again <-chan time.Time
		if f.usage.waits() {
			again = time.After(shortest / 2) // if nothing new is noted first
		}
		select {
		case <-f.usage.wake:
		case <-again:
		case <-ctx.Done():
		}
	}
}

// usageShare returns how many bytes this gateway may write in a round, and how many if that
// is not enough to tell what is new.
func (f *Fleet) usageShare() (some, most int) {
	gateways := f.gatewaysServing()
	some = cmp.Or(f.options.Load().usageShare, usageBytes/gateways)
	if space := f.space.Load(); space != nil && space.Used < space.Quota/2 {
		return some, usageBurst / gateways
	}
	return some, usageBytes / gateways
}

// gatewaysServing returns how many gateways serve, at least one.
func (f *Fleet) gatewaysServing() int {
	gateways, _, _ := f.registry.all()
	return max(countServing(gateways), 1)
}

// addFormerUsage adds what was counted before this start, and may not have been told. It
// waits until that is merged with what is in etcd: the replica may be older.
func (f *Fleet) addFormerUsage(ctx context.Context) error {
	select {
	case <-f.usage.caughtUp:
	case <-ctx.Done():
		return ctx.Err()
	}
	if f.usage.resumed {
		return nil
	}
	note, err := f.replica.UsageNote()
	if err != nil {
		return err
	}
	former := slices.DeleteFunc(note.Untold, func(origin string) bool { return origin == f.usage.origin })
	all := make(map[string]map[apikey.KeyDay]apikey.Usage)
	for _, origin := range former {
		all[origin] = make(map[apikey.KeyDay]apikey.Usage)
	}
	if len(former) > 0 {
		err = f.replica.EachUsage(ctx, former, oldestUsage(time.Now()), func(origin string, one apikey.KeyDay, usage apikey.Usage) {
			all[origin][one] = usage
		})
	}
	if err != nil {
		return err
	}
	for origin, counted := range all {
		f.usage.add(origin, counted, f.started) // so that they are told first
	}
	f.usage.resumed, f.usage.former = true, former
	return nil
}

// oldestUsage is the first day of which usage is kept.
func oldestUsage(now time.Time) apikey.Day { return apikey.DayOf(now) - apikey.UsageDays + 1 }

// tellDueUsage tells what is due: see due.
func (f *Fleet) tellDueUsage(ctx context.Context, some, most int) error {
	if f.Full() {
		return nil
	}
	e := f.connection()
	var news, values []dueUsage
	for _, one := range f.usage.due(some, most) {
		if one.inFull {
			values = append(values, one)
		} else {
			news = append(news, one)
		}
	}
	err := f.tellNews(ctx, e, news)
	if err == nil {
		err = f.tellValues(ctx, e, values)
	}
	if err == nil {
		err = f.deleteAdditions(ctx, e)
	}
	if err != nil || len(f.usage.former) == 0 || f.usage.hasFormer() {
		return err
	}
	return f.toldFormer(ctx, e)
}

// tellValues writes values.
func (f *Fleet) tellValues(ctx context.Context, e *etcd, values []dueUsage) error {
	for len(values) > 0 {
		var puts []clientv3.Op
		for size := 0; len(puts) < min(len(values), maxOps) && (size == 0 || size < usageRequest); {
			value := values[len(puts)]
			puts = append(puts, e.putUsage(usageName(value.day, value.shard, value.origin), value.encoded))
			size += len(value.encoded)
		}
		if _, err := e.write(ctx, nil, puts, nil); err != nil {
			return err
		}
		f.usage.told(values[:len(puts)], apikey.DayOf(time.Now()))
		values = values[len(puts):]
	}
	return nil
}

// tellNews writes what is new in values, as additions of a day each.
func (f *Fleet) tellNews(ctx context.Context, e *etcd, news []dueUsage) error {
	slices.SortStableFunc(news, func(a, b dueUsage) int { return cmp.Compare(a.day, b.day) })
	for len(news) > 0 {
		var together []byte
		n := 0
		for ; n < len(news) && news[n].day == news[0].day && len(together) < additionSize; n++ {
			together = append(together, news[n].news...)
		}
		name := additionName(news[0].day, f.usage.origin, f.usage.added)
		f.usage.expect(addition{name, news[0].at}) // even if it is unknown whether it was written
		if _, err := e.write(ctx, nil, []clientv3.Op{e.putUsage(name, together)}, nil); err != nil {
			return err
		}
		f.usage.added++
		f.usage.told(news[:n], apikey.DayOf(time.Now()))
		news = news[n:]
	}
	return nil
}

// putUsage returns the operation that writes counts below a name.
func (e *etcd) putUsage(name string, encoded []byte) clientv3.Op {
	name = e.name(name)
	return clientv3.OpPut(name, string(e.keys.seal(name, 0, encoded)))
}

// deleteAdditions deletes those that say nothing beyond what the values say.
func (f *Fleet) deleteAdditions(ctx context.Context, e *etcd) error {
	for some := range slices.Chunk(f.usage.additions[:f.usage.superseded()], maxOps) {
		var deletes []clientv3.Op
		for _, old := range some {
			deletes = append(deletes, clientv3.OpDelete(e.name(old.name)))
		}
		if _, err := e.write(ctx, nil, deletes, nil); err != nil {
			return err
		}
		f.usage.additions = f.usage.additions[len(some):]
	}
	return nil
}

// toldFormer notes that what earlier starts have counted is in values, after it has deleted
// what they have left besides.
func (f *Fleet) toldFormer(ctx context.Context, e *etcd) error {
	for _, origin := range f.usage.former {
		var deletes []clientv3.Op
		for day := oldestUsage(time.Now()); day <= apikey.DayOf(time.Now())+aheadDays; day++ {
			deletes = append(deletes, clientv3.OpDelete(e.name(additionPrefix(day, origin)), clientv3.WithPrefix()))
		}
		if _, err := e.write(ctx, nil, deletes, nil); err != nil {
			return err
		}
	}
	err := f.replica.NoteUsageTold(f.usage.former)
	if err == nil {
		f.usage.former = nil
	}
	return err
}

// tellLastUsage tells the other gateways everything, before this one stops.
func (f *Fleet) tellLastUsage() {
	if f.Problem() != "" || f.Full() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*attemptTimeout)
	defer cancel()
	err := f.tellDueUsage(ctx, 0, math.MaxInt) // so that they know it even if there is no time for more
	if err == nil {
		err = f.tellDueUsage(ctx, math.MaxInt, math.MaxInt)
	}
	if err == nil {
		err = f.replica.NoteUsageTold([]string{f.usage.origin})
	}
	if err != nil {
		f.log.Warn("could not send usage counts to the other gateways: this gateway sends them after its next start", zap.Error(err))
	}
}

// forgetUsage deletes from etcd what is too old, now and then. Whichever gateway does it,
// it goes by the time that has certainly passed.
func (f *Fleet) forgetUsage(ctx context.Context) {
	if time.Since(f.usage.forgotten) < forgetUsageEvery {
		return
	}
	_, confirmed, err := f.replica.Contact()
	if err == nil && !confirmed.IsZero() {
		e := f.connection()
		end := clientv3.WithRange(e.name(usageDayPrefix(max(oldestUsage(confirmed), 0))))
		_, err = e.write(ctx, nil, []clientv3.Op{clientv3.OpDelete(e.name(usagePrefix), end)}, nil)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		f.log.Warn("could not delete old usage counts; trying again later", zap.Error(err))
		return
	}
	f.usage.forgotten = time.Now()
}
