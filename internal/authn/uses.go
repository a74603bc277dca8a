package authn

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxUses bounds the keys whose uses are followed at once. A use beyond it is
// noted with the key's next one.
const maxUses = 1 << 17

// A use is when a remembered key was last used. A key that was forgotten and is
// remembered again has another one; the newer counts.
type use struct {
	keyID string
	at    atomic.Int64 // in milliseconds since 1970
	// from is the address of the client that used it first since it was written.
	from atomic.Pointer[string]
	// listed says that the next flush looks at it, or a later one.
	listed atomic.Bool
	// written is the use that was written; for flush alone.
	written int64
}

// uses follows the last uses of keys until they are written. A request does no
// more than put a number into what it has at hand; only a key's first use after
// a pause takes the lock.
type uses struct {
	count atomic.Int64 // those that are listed

	mu    sync.Mutex
	fresh []*use // listed since the last flush

	flushing sync.Mutex      // held for all that follows
	followed map[string]*use // by key id
	written  []writing       // of the followed ones, in the order of their times
	failed   []string        // ids of the followed ones that could not be written
}

// writing is that a key's use was written.
type writing struct {
	keyID string
	at    time.Time
}

// note remembers that a key is used at a time, by a client.
func (u *uses) note(one *use, at time.Time, client Client) {
	if now := at.UnixMilli(); one.at.Load() != now {
		one.at.Store(now)
	}
	if client != nil && one.from.Load() == nil {
		address := client.Address()
		one.from.Store(&address)
	}
	// After the store: whoever takes it off the list looks at the time once more.
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

// unlist takes a use off the list. It returns when the key was last used: no use
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

// FlushUses hands write the keys that were used and not yet written, by id, with
// their last uses: each key at its first use, and from then on whenever the
// resolution has passed since it was written last. It is to be called every
// second or so, with the time, and once with a resolution of zero in the end. If
// write fails, the uses are handed to it again the next time.
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
		// Not used for as long as the resolution: it need not be followed.
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
		u.followed[id].from.Store(nil) // the next request says its own
		u.written = append(u.written, writing{id, now})
	}
	return nil
}

// early is how long before its time a use is due: a flush that comes a little
// sooner than the one of the second before would leave it to the next.
const early = 500 * time.Millisecond

// due returns the ids of the followed uses that are to be looked at now.
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
		// It takes the place of one that was forgotten, and which is due in its
		// own time.
		one.written = older.written
		if at, newer := u.unlist(older), one.at.Load(); at > newer {
			one.at.CompareAndSwap(newer, at) // or it was used just now
		}
	}
	return ids
}
