package authn

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxUses bounds the keys whose uses are tracked at once. A use beyond it is recorded
// with the key's next one.
const maxUses = 1 << 17

// A use is when a cached key was last used. A key that was evicted and loaded again has
// another one; the newer counts.
type use struct {
	keyID string
	at    atomic.Int64 // in milliseconds since 1970
	// from is the address of the first client since the last write.
	from atomic.Pointer[string]
	// listed says that a flush will look at it.
	listed atomic.Bool
	// written is the use that was last written. Only flushes use it.
	written int64
}

// uses tracks the last uses of keys until they are written. A request only stores a
// number in the entry it has; only a key's first use after a pause takes the lock.
type uses struct {
	count atomic.Int64 // how many are listed

	mu    sync.Mutex
	fresh []*use // listed since the last flush

	flushing sync.Mutex      // held for all fields below
	followed map[string]*use // by key id
	written  []writing       // in order of time
	failed   []string        // ids of those that could not be written
}

// writing is when a key's use was written.
type writing struct {
	keyID string
	at    time.Time
}

// note records a use of a key by a client.
func (u *uses) note(one *use, at time.Time, client Client) {
	if now := at.UnixMilli(); one.at.Load() != now {
		one.at.Store(now)
	}
	if client != nil && one.from.Load() == nil {
		address := client.Address()
		one.from.Store(&address)
	}
	// After the store: unlist reads the time once more.
	if !one.listed.Load() {
		u.list(one)
	}
}

func (u *uses) list(one *use) {
	if u.count.Load() >= maxUses || !one.listed.CompareAndSwap(false, true) {
		return
	}
	u.count.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fresh = append(u.fresh, one)
}

// unlist removes a use from the list. It returns when the key was last used: no use
// before that time is lost, and the next one lists it again.
func (u *uses) unlist(one *use) int64 {
	one.listed.Store(false)
	u.count.Add(-1)
	return one.at.Load()
}

func (one *use) address() string {
	if from := one.from.Load(); from != nil {
		return *from
	}
	return ""
}

// FlushUses calls write with the keys that were used since they were last written, by
// id, and their last uses: each key at its first use, and then whenever the resolution
// has passed since its last write. Call it about every second with the current time, and
// finally with a resolution of zero. If write fails, it gets the same uses again the next
// time.
func (a *Authenticator) FlushUses(now time.Time, resolution time.Duration, write func(map[string]apikey.Use) error) error {
	u := &a.uses
	u.flushing.Lock()
	defer u.flushing.Unlock()
	batch := make(map[string]apikey.Use)
	for _, id := range u.due(now, resolution) {
		one := u.followed[id]
		if at := one.at.Load(); at != one.written {
			batch[id] = apikey.Use{At: time.UnixMilli(at), From: one.address(), Noted: one.written != 0}
			continue
		}
		// Not used within the resolution: stop tracking it.
		delete(u.followed, id)
		if u.unlist(one) != one.written {
			u.list(one)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	if err := write(batch); err != nil {
		u.failed = slices.Collect(maps.Keys(batch))
		return err
	}
	for id, noted := range batch {
		u.followed[id].written = noted.At.UnixMilli()
		u.followed[id].from.Store(nil) // the next request sets its own
		u.written = append(u.written, writing{id, now})
	}
	return nil
}

// early is how much too early a use may be written: a flush that runs slightly sooner
// than a second after the last one would otherwise leave it to the next.
const early = 500 * time.Millisecond

// due returns the ids of the tracked uses to look at now.
func (u *uses) due(now time.Time, resolution time.Duration) []string {
	ids := u.failed
	u.failed = nil
	for len(u.written) > 0 && now.Sub(u.written[0].at) >= resolution-early {
		ids = append(ids, u.written[0].keyID)
		u.written = u.written[1:]
	}
	u.mu.Lock()
	fresh := u.fresh
	u.fresh = nil
	u.mu.Unlock()
	if u.followed == nil {
		u.followed = make(map[string]*use)
	}
	for _, one := range fresh {
		older := u.followed[one.keyID]
		u.followed[one.keyID] = one
		if older == nil {
			ids = append(ids, one.keyID)
			continue
		}
		// It replaces one that was evicted, which keeps its due time.
		one.written = older.written
		if at, newer := u.unlist(older), one.at.Load(); at > newer {
			one.at.CompareAndSwap(newer, at) // unless it was used just now
		}
	}
	return ids
}
