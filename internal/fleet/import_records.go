package fleet

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// maxOps is the number of operations in one transaction that etcd allows, unless it is
	// configured otherwise.
	maxOps = 128
	// maxImportBytes is the size of one transaction of an import; etcd allows 1.5 MiB.
	maxImportBytes = 1 << 20
	// importsAtOnce is the number of transactions that an import makes at the same time:
	// etcd syncs several of them together.
	importsAtOnce = 8
	// batchesPerCheck is how many transactions an import makes before it checks again how
	// full etcd is.
	batchesPerCheck = 50
)

// batch is what one transaction writes.
type batch struct {
	puts  []clientv3.Op
	bytes int
}

// writeRecords writes all records of the store. They are those of the first change of the
// fleet, which the head describes once they are all there.
func (i *importing) writeRecords(ctx context.Context) error {
	total := 0
	if err := i.from.EachRecord(ctx, func(apikey.Record) error { total++; return nil }); err != nil {
		return err
	}
	const step = "Writing the records into etcd"
	i.progress(step, 0, total)
	g, ctx := errgroup.WithContext(ctx)
	batches, written := make(chan batch), make(chan int)
	g.Go(func() error {
		defer close(batches)
		return i.eachBatch(ctx, batches)
	})
	writers, writing := errgroup.WithContext(ctx)
	for range importsAtOnce {
		writers.Go(func() error {
			for b := range batches {
				if err := i.write(writing, i.mine(), b.puts...); err != nil {
					return err
				}
				written <- len(b.puts)
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(written)
		return writers.Wait()
	})
	g.Go(func() error {
		done := 0
		for n := range written {
			done += n
			i.progress(step, done, total)
		}
		return nil
	})
	return g.Wait()
}

// eachBatch reads the store and sends what is to be written. It then knows the head.
func (i *importing) eachBatch(ctx context.Context, batches chan<- batch) error {
	var b batch
	lastEvent, seq, sent := "", i.head.Seq+1, 0
	send := func() error {
		if sent%batchesPerCheck == 0 {
			if err := i.etcd.checkRoom(ctx); err != nil {
				return err
			}
		}
		sent++
		select {
		case batches <- b:
			b = batch{}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := i.from.EachRecord(ctx, func(r apikey.Record) error {
		key := i.etcd.name(recordName(r))
		sealed := i.etcd.keys.seal(key, seq, r.Value)
		if len(b.puts) == maxOps || len(b.puts) > 0 && b.bytes+len(key)+len(sealed) > maxImportBytes {
			if err := send(); err != nil {
				return err
			}
		}
		b.puts, b.bytes = append(b.puts, clientv3.OpPut(key, string(sealed))), b.bytes+len(key)+len(sealed)
		i.set.Add(r)
		i.count(r)
		if r.Kind == apikey.RecordEvent {
			lastEvent = max(lastEvent, r.ID)
		}
		return nil
	})
	if err == nil && len(b.puts) > 0 {
		err = send()
	}
	i.head = next(i.head, apikey.Plan{LastEvent: lastEvent, Set: i.set.Sum()})
	return err
}

func (i *importing) count(r apikey.Record) {
	i.Records++
	switch r.Kind {
	case apikey.RecordKey:
		i.Keys++
	case apikey.RecordEvent:
		i.Events++
	}
}
