package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/sethash"
)

const (
	pageSize    = 1000 // records that one read returns
	readsAtOnce = 4    // parts that are read at the same time
)

// load fills the replica with all records, as of one revision. One that has served, and may
// have to keep serving, is not touched before they are known to be the fleet's.
func (f *Fleet) load(ctx context.Context, e *etcd, served bool) error {
	head, revision, err := e.readHead(ctx)
	if err != nil {
		return err
	}
	f.log.Info("filling this gateway's replica from etcd", zap.Uint64("change", head.Seq))
	if served {
		if _, _, err := e.allRecords(ctx, revision, head.Head, func([]apikey.Record) error { return nil }); err != nil {
			return err
		}
	}
	reload, err := f.replica.BeginReload(ctx)
	if err != nil {
		return err
	}
	defer reload.Close()
	records, set, err := e.allRecords(ctx, revision, head.Head, func(list []apikey.Record) error {
		err := reload.Add(ctx, list)
		if err != nil {
			f.unapplied.add(head.LastEvent)
		}
		if served {
			return nil // but by Finish: what cannot be written is to be refused, all of it
		}
		return err
	})
	if errors.Is(err, errRecords) {
		f.lease.end() // also in static mode: the replica has them
	}
	if err != nil {
		return err
	}
	if err := reload.Finish(ctx, head.Position, set); err != nil {
		f.unapplied.add(head.LastEvent)
		return err
	}
	f.settle()
	f.progress.set(head.Position, head.sealed)
	f.progress.latest(head, revision)
	f.log.Info("this gateway's replica is complete", zap.Uint64("change", head.Seq), zap.Int("records", records))
	return nil
}

// longestUnread bounds for how long a static gateway that cannot write hears of no revocation,
// so that reading everything is not all that it does.
const longestUnread = time.Minute

// unlessFull does what reads all records. If that has failed because the replica cannot be
// written to, as when its disk is full, it is not done again before that is over, or there is
// something new to refuse and some time has passed.
func (f *Fleet) unlessFull(ctx context.Context, head apikey.Head, do func() error) error {
	if f.unwritten.still(head) && f.checkWritable(ctx) != nil {
		return f.unwritten.why
	}
	began := time.Now()
	err := do()
	f.unwritten = refusal{}
	if err != nil && f.checkWritable(ctx) != nil {
		f.unwritten = refusal{head, err, time.Now().Add(min(10*time.Since(began), longestUnread))}
	}
	return err
}

// checkWritable fails if the replica cannot be written to. It writes what is there.
func (f *Fleet) checkWritable(ctx context.Context) error {
	c, _, err := f.replica.Contact()
	if err != nil {
		return err
	}
	return f.replica.NoteContact(ctx, c)
}

// readHead reads the head, and the revision of etcd as of which it was read.
func (e *etcd) readHead(ctx context.Context) (head point, revision int64, err error) {
	read, err := e.read(ctx, clientv3.OpGet(e.name(headName)))
	if err != nil {
		return head, 0, err
	}
	head, err = e.headIn(read.Responses[0].GetResponseRange())
	return head, read.Header.Revision, err
}

// headIn decodes a head that was read; sealed is nil if there is none.
func (e *etcd) headIn(read *etcdserverpb.RangeResponse) (head point, err error) {
	if len(read.Kvs) == 0 {
		return head, nil
	}
	kv := read.Kvs[0]
	head.Head, err = e.keys.openHead(e.name(headName), kv.Value)
	head.Revision, head.sealed = kv.ModRevision, kv.Value
	return head, err
}

// errRecords is why a gateway does not use the records in etcd.
var errRecords = errors.New("the records in etcd are not those that the fleet's gateways wrote")

// allRecords calls visit for all records as of a revision, and returns their number and
// hash. It fails in the end if they are not the records that there were after a change,
// the latest by then.
func (e *etcd) allRecords(ctx context.Context, revision int64, latest apikey.Head, visit func([]apikey.Record) error) (n int, set *sethash.Hash, err error) {
	set = new(sethash.Hash)
	err = e.eachRecord(ctx, revision, latest.Seq, func(list []apikey.Record) error {
		for _, r := range list {
			set.Add(r)
		}
		n += len(list)
		return visit(list)
	})
	if err == nil && !bytes.Equal(set.Sum(), latest.Set) {
		err = fmt.Errorf("%w, as of change %d: some were deleted, or replaced by earlier ones; docs/fleet.md says what to do", errRecords, latest.Seq)
	}
	return n, set, err
}

// eachRecord calls visit for all records as of a revision, a page at a time. latest is
// the number of the last change by then.
func (e *etcd) eachRecord(ctx context.Context, revision int64, latest uint64, visit func([]apikey.Record) error) error {
	g, ctx := errgroup.WithContext(ctx)
	pages, parts := make(chan []apikey.Record, readsAtOnce), make(chan string)
	g.Go(func() error {
		defer close(parts)
		for _, part := range allParts() {
			select {
			case parts <- part:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	readers, readCtx := errgroup.WithContext(ctx)
	for range readsAtOnce {
		readers.Go(func() error {
			for part := range parts {
				if err := e.readPart(readCtx, part, revision, latest, pages); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(pages)
		return readers.Wait()
	})
	g.Go(func() error {
		for page := range pages {
			if err := visit(page); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// allParts returns the prefixes of all records. Events come last: they need no
// comparison with others, and are the most.
func allParts() []string {
	parts := []string{forgottenPrefix, signingPrefix, schedulePrefix, suspendPrefix, feedPrefix, tombstonePrefix}
	for shard := range shards {
		parts = append(parts, shardPrefix(byte(shard)))
	}
	return append(parts, eventPrefix)
}

// readPart reads the records below a prefix.
func (e *etcd) readPart(ctx context.Context, part string, revision int64, latest uint64, pages chan<- []apikey.Record) error {
	_, err := e.eachPage(ctx, part, pageSize, revision, func(found []*mvccpb.KeyValue) error {
		page := make([]apikey.Record, 0, len(found))
		for _, kv := range found {
			record, seq, err := e.openRecord(string(kv.Key), kv.Value)
			if err != nil {
				return err
			}
			if seq > latest {
				return fmt.Errorf("%w: %s is of change %d, and the latest is %d", errHistory, kv.Key, seq, latest)
			}
			page = append(page, record)
		}
		select {
		case pages <- page:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return err
}
