package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// When keys were used is not a change of the fleet: each gateway notes it for itself, and
// tells the others from time to time. It may be late or lost, and no decision depends on
// it. Each value below u/ has the uses of some keys, merged: the first use and the last
// one, whichever gateway saw them.

const (
	// useInterval is how often gateways exchange uses of keys that were replaced, or were
	// used for the first time not long ago.
	useInterval = 5 * time.Minute
	// useIntervals is the number of these intervals, six hours, after which all other uses
	// are exchanged.
	useIntervals = 72
	// maxUnshared is the maximum number of keys whose uses wait to be shared. Others are
	// shared after their next use.
	maxUnshared = 1 << 17
	// knownAfter is how long a new key can be unknown here although it was used elsewhere.
	knownAfter = time.Hour
)

// uses are the keys that were used on this gateway since the others were told. It is safe
// for concurrent use.
type uses struct {
	mu       sync.Mutex
	unshared map[string]time.Time // by key id, since when

	// Only one goroutine uses the revision of etcd up to which uses have been merged.
	merged int64
}

// NoteUses notes that keys, by id, were used on this gateway. The replica must have noted
// when.
func (f *Fleet) NoteUses(ids iter.Seq[string]) {
	now := time.Now()
	for id := range ids {
		f.uses.add(id, now)
	}
}

func (u *uses) add(id string, since time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.unshared == nil {
		u.unshared = make(map[string]time.Time)
	}
	if earlier, there := u.unshared[id]; there && earlier.Before(since) || !there && len(u.unshared) >= maxUnshared {
		return
	}
	u.unshared[id] = since
}

// take removes and returns the keys whose uses are waiting.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	taken := u.unshared
	u.unshared = nil
	return taken
}

// shareUses exchanges uses with the other gateways until ctx is done.
func (f *Fleet) shareUses(ctx context.Context) {
	interval := f.options.Load().useInterval
	if interval == 0 {
		interval = useInterval
	}
	for {
		if _, err := f.progress.reach(ctx, point.current); err != nil {
			return
		}
		gone, upTo, err := f.mergeUses(ctx)
		if err == nil && !f.Full() {
			err = f.tellUses(ctx, useIntervals*interval, gone)
		}
		switch {
		case err == nil:
			f.uses.merged = upTo
		case ctx.Err() == nil:
			f.log.Warn("could not exchange last-used times with the other gateways; trying again later", zap.Error(err))
		}
		if pause(ctx, interval) != nil {
			return
		}
	}
}

// shareLastUses tells the other gateways of all uses, before this one stops.
func (f *Fleet) shareLastUses() {
	if f.Problem() != "" || f.Full() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*attemptTimeout)
	defer cancel()
	if err := f.tellUses(ctx, 0, nil); err != nil {
		f.log.Warn("could not send last-used times to the other gateways", zap.Error(err))
	}
}

// mergeUses notes what the other gateways have told since the last time. It returns the
// names of the values that have keys which are gone, and the revision of etcd up to which
// it has read.
func (f *Fleet) mergeUses(ctx context.Context) (gone []string, upTo int64, err error) {
	e, since := f.connection(), f.uses.merged
	for _, digit := range "0123456789abcdef" {
		get := clientv3.OpGet(e.name(usePrefix+string(digit)), clientv3.WithPrefix(), clientv3.WithMinModRev(since+1))
		read, err := e.read(ctx, get)
		switch {
		case err != nil:
			return nil, 0, err
		case read.Header.Revision < since: // etcd was restored from a snapshot
			return nil, 0, nil
		case upTo == 0:
			upTo = read.Header.Revision
		}
		for _, kv := range read.Responses[0].GetResponseRange().Kvs {
			told, err := e.openUses(kv)
			if err != nil {
				f.log.Warn("ignoring last-used times in etcd that cannot be read: they will be overwritten", zap.Error(err))
				continue
			}
			unknown, err := f.replica.MergeUses(told)
			if err != nil {
				return nil, 0, err
			}
			if slices.ContainsFunc(unknown, isGone) {
				gone = append(gone, string(kv.Key))
			}
		}
	}
	return gone, upTo, nil
}

// isGone reports whether a key that is unknown here was deleted. A new one may not have
// arrived.
func isGone(keyID string) bool { return keyID < apikey.FirstKeyID(time.Now().Add(-knownAfter)) }

// tellUses tells the other gateways of the uses that are due: those of keys that were
// replaced or are new, and those that have waited for long enough. It also rewrites the
// values with keys which are gone.
func (f *Fleet) tellUses(ctx context.Context, lazily time.Duration, gone []string) error {
	waiting := f.uses.take()
	noted, err := f.replica.SharedUses(slices.Collect(maps.Keys(waiting)))
	values := make(map[string][]string) // ids by name
	for _, name := range gone {
		values[name] = nil
	}
	for id, since := range waiting {
		switch use, known := noted[id]; {
		case err != nil, known && !isDue(use, since, lazily):
			f.uses.add(id, since)
		case known:
			name := f.connection().name(useName(id))
			values[name] = append(values[name], id)
		}
	}
	for name, ids := range values {
		if err == nil {
			err = f.tell(ctx, name, ids, noted)
		}
		if err != nil {
			for _, id := range ids {
				f.uses.add(id, waiting[id])
			}
		}
	}
	return err
}

func isDue(use apikey.SharedUse, since time.Time, lazily time.Duration) bool {
	return use.Replaced || use.Last.Sub(use.First) < lazily || time.Since(since) >= lazily
}

// tell merges uses into one value. If another gateway does the same at this moment, they
// wait for the next time.
func (f *Fleet) tell(ctx context.Context, name string, ids []string, noted map[string]apikey.SharedUse) error {
	e := f.connection()
	read, err := e.read(ctx, clientv3.OpGet(name))
	if err != nil {
		return err
	}
	told, revision := map[string]apikey.SharedUse{}, int64(0)
	for _, kv := range read.Responses[0].GetResponseRange().Kvs {
		revision = kv.ModRevision
		if told, err = e.openUses(kv); err != nil {
			told = map[string]apikey.SharedUse{} // as mergeUses has said
		}
	}
	unknown, err := f.replica.MergeUses(told)
	if err != nil {
		return err
	}
	for _, id := range slices.DeleteFunc(unknown, func(id string) bool { return !isGone(id) }) {
		delete(told, id)
	}
	for _, id := range ids {
		told[id] = latest(told[id], noted[id])
	}
	write := clientv3.OpDelete(name)
	if len(told) > 0 {
		write = clientv3.OpPut(name, e.sealUses(name, told))
	}
	unchanged := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(name), "=", revision)}
	resp, err := e.write(ctx, unchanged, []clientv3.Op{write}, nil)
	if err == nil && !resp.Succeeded {
		for _, id := range ids {
			f.uses.add(id, time.Time{}) // which is due
		}
	}
	return err
}

// latest merges what two gateways know of a key.
func latest(a, b apikey.SharedUse) apikey.SharedUse {
	if a.Last.After(b.Last) {
		a, b = b, a
	}
	if !a.First.IsZero() && (b.First.IsZero() || a.First.Before(b.First)) {
		b.First = a.First
	}
	return b
}

// toldUse is the use of a key as it is in etcd. Times are in milliseconds since 1970.
type toldUse struct {
	First int64  `json:"f,omitzero"`
	Last  int64  `json:"l"`
	From  string `json:"a,omitempty"`
}

func (e *etcd) sealUses(name string, uses map[string]apikey.SharedUse) string {
	told := make(map[string]toldUse, len(uses))
	for id, use := range uses {
		one := toldUse{Last: use.Last.UnixMilli(), From: use.From}
		if !use.First.IsZero() {
			one.First = use.First.UnixMilli()
		}
		told[id] = one
	}
	value, _ := json.Marshal(told) // which cannot fail
	return string(e.keys.seal(name, 0, value))
}

func (e *etcd) openUses(kv *mvccpb.KeyValue) (map[string]apikey.SharedUse, error) {
	value, _, err := e.keys.open(string(kv.Key), kv.Value)
	var told map[string]toldUse
	if err == nil {
		err = json.Unmarshal(value, &told)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kv.Key, err)
	}
	uses := make(map[string]apikey.SharedUse, len(told))
	for id, one := range told {
		if !apikey.ValidKeyID(id) {
			return nil, fmt.Errorf("%s: %w", kv.Key, errors.New("it has an invalid id"))
		}
		use := apikey.SharedUse{Last: time.UnixMilli(one.Last), From: one.From}
		if one.First != 0 {
			use.First = time.UnixMilli(one.First)
		}
		uses[id] = use
	}
	return uses, nil
}
