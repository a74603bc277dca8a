package fleet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// Sealing a record again changes nothing: the record, the number of the change that wrote it
// and the heads stay as they are. So it comes without a head, and gateways that follow the
// changes ignore it, as they do everything that comes without one, but do not log it if they
// have exactly that record. It is written on the condition that the record in etcd is the
// one that was read, and this replica has it: what was forged with a key that was disclosed
// is not sealed again. The head itself is sealed again like that, too. Messages to webhooks
// and how often keys were used are sealed again as they are: no request is judged by them.

const (
	// rekeyedAtOnce is the number of records that are sealed again in one transaction, and
	// rekeyedBytes their size, which counts twice: etcd allows 1.5 MiB.
	rekeyedAtOnce = 100
	rekeyedBytes  = 512 << 10
	// rekeyTime is how long one step takes.
	rekeyTime = 2 * time.Second
	// rekeyPatience is how long registrations are waited for that were sealed with another
	// key: a gateway that was just reloaded removes its former one as soon as it has a lease
	// under another.
	rekeyPatience = 3 * time.Second
	// rekeyTries is how often records that do not agree with this replica, and that nobody
	// changes, are read.
	rekeyTries = 10
)

// Rekey seals records again that were sealed with another key than the first one of this
// gateway, for about two seconds. It begins after a place that an earlier step has returned,
// "" for all. All registered gateways must seal with that key: otherwise it fails with
// [apikey.ErrIntegrityKeyDiffers]. If no step of a run has sealed anything, nothing in etcd
// needs another key.
func (f *Fleet) Rekey(ctx context.Context, after string) (apikey.Rekeyed, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*commitTimeout)
	defer cancel()
	r := &rekeying{fleet: f, etcd: f.connection()}
	if err := r.run(ctx, after); err != nil {
		if _, refused := errors.AsType[*apikey.Error](err); !refused {
			err = &unavailable{apikey.ErrRekeyFailed, err}
		}
		return apikey.Rekeyed{}, err
	}
	return r.done, nil
}

// rekeying is one step.
type rekeying struct {
	fleet *Fleet
	etcd  *etcd
	done  apikey.Rekeyed
}

func (r *rekeying) run(ctx context.Context, after string) error {
	if err := r.sameKey(ctx); err != nil {
		return err
	}
	began := time.Now()
	for _, part := range []string{dataPrefix, messagePrefix, usagePrefix} {
		if r.done.Next != "" || after > clientv3.GetPrefixRangeEnd(part) {
			continue
		}
		if err := r.part(ctx, part, after, began); err != nil {
			return err
		}
	}
	return nil
}

// part seals what is below a prefix, after a place, until the step has taken its time.
func (r *rekeying) part(ctx context.Context, prefix, after string, began time.Time) error {
	from, end, page := r.etcd.name(prefix), clientv3.GetPrefixRangeEnd(r.etcd.name(prefix)), int64(pageSize)
	if prefix == usagePrefix {
		page = usagePage // of values that are much larger than records
	}
	if after > prefix {
		from = r.etcd.name(after) + "\x00"
	}
	for {
		read, err := r.etcd.read(ctx, clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithLimit(page)))
		if err != nil {
			return err
		}
		found := read.Responses[0].GetResponseRange()
		if err := r.page(ctx, found.Kvs); err != nil {
			return err
		}
		r.done.Checked += len(found.Kvs)
		r.done.Remaining = int(found.Count) - len(found.Kvs)
		if !found.More {
			return nil
		}
		last := string(found.Kvs[len(found.Kvs)-1].Key)
		if time.Since(began) >= rekeyTime {
			r.done.Next = strings.TrimPrefix(last, r.etcd.prefix)
			return nil
		}
		from = last + "\x00"
	}
}

// sameKey fails if a registered gateway keeps sealing with another key: it does so with its
// registration too.
func (r *rekeying) sameKey(ctx context.Context) error {
	for began := time.Now(); ; {
		others, err := r.others(ctx)
		switch {
		case err != nil || len(others) == 0:
			return err
		case time.Since(began) >= rekeyPatience:
			return apikey.IntegrityKeyDiffers(others)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// others returns what to call the registered gateways that seal with another key.
func (r *rekeying) others(ctx context.Context) (others []string, err error) {
	read, err := r.etcd.read(ctx, r.etcd.getGateways())
	if err != nil {
		return nil, err
	}
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		if !r.etcd.keys.isCurrent(kv.Value) {
			others = append(others, r.etcd.nameOf(kv))
		}
	}
	slices.Sort(others)
	return others, nil
}

// page seals those values again that need it. The head is not written with others: a head
// with records is a change.
func (r *rekeying) page(ctx context.Context, found []*mvccpb.KeyValue) error {
	var records, head []*mvccpb.KeyValue
	for _, kv := range found {
		switch {
		case !r.needed(kv):
		case string(kv.Key) == r.etcd.name(headName):
			head = append(head, kv)
		default:
			records = append(records, kv)
		}
	}
	if len(records)+len(head) > 0 && r.fleet.Full() {
		return apikey.ErrRekeyNoSpace
	}
	r.done.Sealed += len(records) + len(head)
	for len(records) > 0 {
		n, size := 1, len(records[0].Value)
		for n < min(len(records), rekeyedAtOnce) && size+len(records[n].Value) <= rekeyedBytes {
			size += len(records[n].Value)
			n++
		}
		if err := r.some(ctx, records[:n]); err != nil {
			return err
		}
		records = records[n:]
	}
	return r.some(ctx, head)
}

// needed reports whether something in etcd is the fleet's, and sealed with another key.
func (r *rekeying) needed(kv *mvccpb.KeyValue) bool {
	name := strings.TrimPrefix(string(kv.Key), r.etcd.prefix)
	_, _, isRecord := recordAt(name)
	_, isMessage := messageAt(name)
	_, _, isUsage := usageAt(name)
	return (isRecord || isMessage || isUsage || name == headName) && !r.etcd.keys.isCurrent(kv.Value)
}

// some seals some records again. Those that do not agree with this replica, or that somebody
// has changed in the meantime, are read again.
func (r *rekeying) some(ctx context.Context, kvs []*mvccpb.KeyValue) error {
	for tries := 0; len(kvs) > 0; tries++ {
		if done, err := r.try(ctx, kvs); done || err != nil {
			return err
		}
		left, err := r.again(ctx, kvs)
		if err != nil {
			return err
		}
		switch {
		case !slices.EqualFunc(kvs, left, sameRevision):
			tries = 0 // one was changed, as the fleet's work is
		case tries == rekeyTries:
			return fmt.Errorf("%s, or a record after it, is not what this replica has: something other than a gateway has written it", kvs[0].Key)
		}
		kvs = left
	}
	return nil
}

// sameRevision reports whether a record was not written between two readings of it.
func sameRevision(a, b *mvccpb.KeyValue) bool {
	return a.ModRevision == b.ModRevision && bytes.Equal(a.Key, b.Key)
}

// try seals records again, unless one of them has changed or is not what this replica has.
func (r *rekeying) try(ctx context.Context, kvs []*mvccpb.KeyValue) (done bool, err error) {
	var records []apikey.Record
	var conditions []clientv3.Cmp
	var puts []clientv3.Op
	for _, kv := range kvs {
		name := string(kv.Key)
		value, seq, err := r.etcd.keys.open(name, kv.Value)
		if err != nil {
			return false, err
		}
		if kind, id, isRecord := recordAt(strings.TrimPrefix(name, r.etcd.prefix)); isRecord {
			records = append(records, apikey.Record{Kind: kind, ID: id, Value: value})
		}
		conditions = append(conditions, clientv3.Compare(clientv3.Value(name), "=", string(kv.Value)))
		puts = append(puts, clientv3.OpPut(name, string(r.etcd.keys.seal(name, seq, value))))
	}
	if has, err := r.fleet.replica.Has(records); !has || err != nil {
		return false, err
	}
	resp, err := r.etcd.write(ctx, conditions, puts, nil)
	if errors.Is(err, errAmbiguous) && ctx.Err() == nil {
		return false, nil
	}
	return err == nil && resp.Succeeded, err
}

// again rereads records, once this replica has the latest changes, and returns those that
// still have to be sealed.
func (r *rekeying) again(ctx context.Context, kvs []*mvccpb.KeyValue) (left []*mvccpb.KeyValue, err error) {
	gets := make([]clientv3.Op, len(kvs))
	for i, kv := range kvs {
		gets[i] = clientv3.OpGet(string(kv.Key))
	}
	read, err := r.etcd.read(ctx, gets...)
	if err != nil {
		return nil, err
	}
	for _, one := range read.Responses {
		for _, kv := range one.GetResponseRange().Kvs {
			if r.needed(kv) {
				left = append(left, kv)
			}
		}
	}
	head, _, err := r.etcd.readHead(ctx)
	if err != nil {
		return nil, err
	}
	return left, r.fleet.await(ctx, head)
}
