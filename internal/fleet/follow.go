package fleet

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/metadata"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// replayedAtOnce is the number of records from which on changes are applied in a
// transaction of their own.
const replayedAtOnce = 200

var (
	errCompacted = errors.New("etcd no longer has the changes that this replica lacks")
	errStalled   = errors.New("the watch does not deliver changes that etcd has")
)

// follow applies changes, starting after the replica's position, until it fails.
func (f *Fleet) follow(ctx context.Context, e *etcd) error {
	for {
		watch, cancel := context.WithCancelCause(ctx)
		f.restartWatch.Store(&cancel)
		err := f.watch(watch, e)
		cancel(nil)
		if ctx.Err() != nil || !errors.Is(context.Cause(watch), errStalled) {
			return err
		}
		f.log.Warn("a member of etcd delivers no changes: watching another one")
	}
}

// watch applies changes until the watch ends.
func (f *Fleet) watch(ctx context.Context, e *etcd) error {
	from := clientv3.WithRev(f.progress.watchFrom())
	answers := e.client.Watch(ownStream(ctx, "changes", f.watches.Add(1)), e.name(dataPrefix), clientv3.WithPrefix(), from)
	for answer := range answers {
		if answer.CompactRevision != 0 {
			return f.compacted(ctx, e)
		}
		if err := answer.Err(); err != nil {
			return explain(err)
		}
		if err := f.apply(ctx, e, answer.Events); err != nil {
			if _, unwritten := errors.AsType[*unwrittenError](err); unwritten {
				f.refuseRest(e, answer.Events, answers)
			}
			return err
		}
	}
	if ctx.Err() == nil {
		return errors.New("etcd has ended the watch")
	}
	return ctx.Err()
}

// compacted says what it means that etcd has compacted the changes after the replica's
// position. A snapshot that is restored as documented is marked so, too.
func (f *Fleet) compacted(ctx context.Context, e *etcd) error {
	at, _ := f.progress.now()
	if head, _, err := e.readHead(ctx); err == nil && isBehind(head.Position, at.Position) {
		return otherHistory(head.Head, at.Head)
	}
	return errCompacted // the next session asks again
}

// ownStream gives a watch a connection of its own to a member of etcd, so that it can be
// moved to another one, and ends it if that member loses its leader.
func ownStream(ctx context.Context, of string, n int64) context.Context {
	return clientv3.WithRequireLeader(metadata.AppendToOutgoingContext(ctx, "watch", of+strconv.FormatInt(n, 10)))
}

// change is one change as it comes from etcd.
type change struct {
	point
	records []apikey.Record
}

// apply applies the changes of one answer of the watch.
func (f *Fleet) apply(ctx context.Context, e *etcd, answer []*clientv3.Event) error {
	events := answer // that are left
	var batch []apikey.Record
	at, _ := f.progress.now()
	from := at.Position
	f.applying.Store(true)
	defer f.applying.Store(false)
	flush := func() error {
		if at.Seq == from.Seq {
			return nil
		}
		if err := f.replica.Replay(ctx, from, at.Position, batch); err != nil {
			f.refuse(e, answer, events) // Replay has refused what is before them
			return &unwrittenError{f.cannotApply(from.Seq, err)}
		}
		if at.Seq >= f.settleAt {
			f.settle()
		}
		f.progress.set(at.Position, at.sealed)
		from, batch = at.Position, nil
		return nil
	}
	for len(events) > 0 {
		var same []*clientv3.Event
		same, events = cutRevision(events)
		c, err := e.openChange(same)
		if errors.Is(err, errOutside) {
			if err := flush(); err != nil {
				return err
			}
			f.judgeOutside(e, same, err)
			continue
		}
		if err == nil && sameChange(at.Head, c.Head) && len(c.records) == 0 { // see rekeying
			if err := flush(); err != nil {
				return err
			}
			at = c.point
			from = at.Position
			f.progress.set(at.Position, at.sealed)
			continue
		}
		if err == nil {
			err = follows(at.Head, c.Head, c.records)
		}
		if err != nil {
			return errors.Join(flush(), err)
		}
		at, batch = c.point, append(batch, c.records...)
		f.progress.note(c.Head)
		if len(batch) >= replayedAtOnce {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// cutRevision cuts off the events of the first revision.
func cutRevision(events []*clientv3.Event) (first, rest []*clientv3.Event) {
	n := 1
	for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
		n++
	}
	return events[:n], events[n:]
}

// unwrittenError is why changes could not be applied that continue from the replica's position.
type unwrittenError struct{ error }

func (u *unwrittenError) Unwrap() error { return u.error }

// cannotApply says why the replica cannot apply the changes after one.
func (f *Fleet) cannotApply(after uint64, err error) error {
	if errors.Is(err, apikey.ErrNoSpace) {
		return fmt.Errorf("the disk of this gateway's replica at %s is full, or has no inodes left, so it cannot apply the changes after %d: free some space or inodes", f.replica.Path(), after)
	}
	return fmt.Errorf("applying the changes after %d: %w", after, err)
}

// judgeOutside logs what came without a head, unless it is records that were sealed again.
// In any case, it changes nothing here.
func (f *Fleet) judgeOutside(e *etcd, events []*clientv3.Event, why error) {
	var records []apikey.Record
	for _, event := range events {
		r, _, err := e.openRecord(string(event.Kv.Key), event.Kv.Value)
		if err == nil && event.Type != clientv3.EventTypeDelete {
			records = append(records, r)
		}
	}
	if has, err := f.replica.Has(records); err != nil || !has || len(records) < len(events) {
		f.log.Error("something other than a gateway has written into the fleet's data in etcd: it is ignored", zap.Error(errors.Join(why, err)))
	}
}

// errOutside is why events of etcd are no change of the fleet.
var errOutside = errors.New("it is part of no change of the fleet")

// openChange decodes the events of one revision.
func (e *etcd) openChange(events []*clientv3.Event) (c change, err error) {
	headName := e.name(headName)
	for _, event := range events {
		if string(event.Kv.Key) != headName {
			continue
		}
		if event.Type == clientv3.EventTypeDelete {
			return c, fmt.Errorf("%w: %s was deleted", errHistory, headName)
		}
		if c.Head, err = e.keys.openHead(headName, event.Kv.Value); err != nil {
			return c, err
		}
		c.Revision, c.sealed = event.Kv.ModRevision, event.Kv.Value
	}
	if c.sealed == nil {
		return c, fmt.Errorf("%s: %w", events[0].Kv.Key, errOutside)
	}
	for _, event := range events {
		if string(event.Kv.Key) == headName {
			continue
		}
		var value []byte
		if event.Type != clientv3.EventTypeDelete {
			value = event.Kv.Value
		}
		record, seq, err := e.openRecord(string(event.Kv.Key), value)
		if err != nil {
			return c, err
		}
		if value != nil && seq != c.Seq {
			return c, fmt.Errorf("%s is of change %d, and came with change %d", event.Kv.Key, seq, c.Seq)
		}
		c.records = append(c.records, record)
	}
	return c, nil
}

// openRecord decodes a record, and returns the number of the change that wrote it. A nil
// value is one that was deleted.
func (e *etcd) openRecord(key string, sealed []byte) (r apikey.Record, seq uint64, err error) {
	kind, id, ok := recordAt(strings.TrimPrefix(key, e.prefix))
	if !ok {
		return r, 0, fmt.Errorf("%s is not a name of the fleet's data", key)
	}
	r = apikey.Record{Kind: kind, ID: id}
	if sealed == nil {
		return r, 0, nil
	}
	r.Value, seq, err = e.keys.open(key, sealed)
	return r, seq, err
}
