package authn

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// maxUses bounds the keys whose uses are tracked at a time. A use beyond it is recorded
// with the key's next one.
const maxUses = 1 << 17

// A use is when a cached key was last used. A key that was evicted and loaded again has
// another one; the newer counts.
type use struct {
	at atomic.Int64 // in milliseconds since 1970
	// written is the use that was last written. Only flushes use it.
	written int64
	// from is the address of the first client since the last write, once known is addressed.
	from  netip.Addr
	known atomic.Uint32
	// listed says that a flush will look at it.
	listed atomic.Bool
}

// Whether the address of a use is known. Only a request takes it from the first of these to
// the last, and only a flush takes it back.
const (
	unaddressed uint32 = iota
	addressing
	addressed
)

// uses tracks the last uses of keys until they are written. A request only stores a
// number in the entry it has; only a key's first use after a pause takes the lock.
type uses struct {
	count atomic.Int64 // how many are listed

	mu    sync.Mutex
	fresh []*entry // listed since the last flush

	flushing sync.Mutex // held for all fields below
	followed followed
	written  []writing // in order of time
	failed   []place   // those that could not be written
}

// writing is when the uses of some keys were written.
type writing struct {
	at   time.Time
	keys []place
}

// followed are the keys whose uses are followed, each at a place that it keeps. They are found
// in chains of places, which take a third of the memory of a map. Only entries has pointers, so
// that the garbage collector follows one for each key, and not four.
type followed struct {
	entries []*entry // by place; the first one is for none
	next    []place  // of each in its chain, or of what is free
	chains  []place  // by digest; as many as a power of two, or none
	free    place
	len     int
}

// place is where a key is; 0 if nowhere.
type place uint32

func (f *followed) chain(digest *apikey.Digest) *place {
	return &f.chains[binary.LittleEndian.Uint32(digest[:])&uint32(len(f.chains)-1)]
}

// put follows a key. If another entry of the key was followed, put takes its place, and
// returns that entry.
func (f *followed) put(key *entry) (at place, older *entry) {
	if f.len == len(f.chains) {
		f.grow()
	}
	chain := f.chain(&key.Digest)
	for at := *chain; at != 0; at = f.next[at] {
		if older := f.entries[at]; older.Digest == key.Digest {
			f.entries[at] = key
			return at, older
		}
	}
	if at = f.free; at != 0 {
		f.entries[at], f.free = key, f.next[at]
	} else {
		at, f.entries, f.next = place(len(f.entries)), append(f.entries, key), append(f.next, 0)
	}
	f.next[at], *chain = *chain, at
	f.len++
	return at, nil
}

// grow makes room for twice as many chains.
func (f *followed) grow() {
	if f.len == 0 {
		*f = followed{entries: make([]*entry, 1), next: make([]place, 1)}
	}
	f.chains = make([]place, max(2*len(f.chains), 1))
	for at, key := range f.entries { // none is free
		if key != nil {
			chain := f.chain(&key.Digest)
			f.next[at], *chain = *chain, place(at)
		}
	}
}

func (f *followed) remove(at place) {
	link := f.chain(&f.entries[at].Digest)
	for *link != at {
		link = &f.next[*link]
	}
	*link, f.next[at], f.free, f.entries[at] = f.next[at], f.free, at, nil
	if f.len--; f.len == 0 {
		*f = followed{}
	}
}

// note records a use of a key by a client.
func (u *uses) note(key *entry, at time.Time, client Client) {
	one := &key.use
	if now := at.UnixMilli(); one.at.Load() != now {
		one.at.Store(now)
	}
	if client != nil && one.known.Load() == unaddressed {
		one.note(client)
	}
	// After the store: unlist reads the time once more.
	if !one.listed.Load() {
		u.list(key)
	}
}

func (one *use) note(client Client) {
	if one.known.CompareAndSwap(unaddressed, addressing) {
		one.from = client.Address()
		one.known.Store(addressed)
	}
}

func (u *uses) list(key *entry) {
	if u.count.Load() >= maxUses || !key.use.listed.CompareAndSwap(false, true) {
		return
	}
	u.count.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fresh = append(u.fresh, key)
}

// unlist removes a use from the list. It returns when the key was last used: no use
// before that time is lost, and the next one lists it again.
func (u *uses) unlist(one *use) int64 {
	one.listed.Store(false)
	u.count.Add(-1)
	return one.at.Load()
}

func (one *use) address() string {
	if one.known.Load() == addressed && one.from.IsValid() {
		return one.from.String()
	}
	return ""
}

// forgetAddress has the next request note its own, unless another one than was written has
// been noted meanwhile.
func (one *use) forgetAddress(written string) {
	if one.address() == written {
		one.known.CompareAndSwap(addressed, unaddressed)
	}
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
	due := u.due(now, resolution)
	batch, keys := make(map[string]apikey.Use, len(due)), due[:0]
	for _, at := range due {
		key := u.followed.entries[at]
		one := &key.use
		if used := one.at.Load(); used != one.written {
			batch[key.ID()] = apikey.Use{At: time.UnixMilli(used), From: one.address(), Noted: one.written != 0}
			keys = append(keys, at)
			continue
		}
		// Not used within the resolution: stop tracking it.
		u.followed.remove(at)
		if u.unlist(one) != one.written {
			u.list(key)
		}
	}
	if len(batch) == 0 {
		return nil
	}
	if err := write(batch); err != nil {
		u.failed = keys
		return err
	}
	for _, at := range keys {
		key := u.followed.entries[at]
		noted := batch[key.ID()]
		key.use.written = noted.At.UnixMilli()
		key.use.forgetAddress(noted.From)
	}
	u.written = append(u.written, writing{now, keys})
	return nil
}

// early is how much too early a use may be written: a flush that runs slightly sooner
// than a second after the last one would otherwise leave it to the next.
const early = 500 * time.Millisecond

// due returns the places of the keys to look at now.
func (u *uses) due(now time.Time, resolution time.Duration) []place {
	due := u.failed
	u.failed = nil
	for len(u.written) > 0 && now.Sub(u.written[0].at) >= resolution-early {
		due = append(due, u.written[0].keys...)
		u.written[0].keys, u.written = nil, u.written[1:]
	}
	u.mu.Lock()
	fresh := u.fresh
	u.fresh = nil
	u.mu.Unlock()
	for _, key := range fresh {
		at, older := u.followed.put(key)
		if older == nil {
			due = append(due, at)
			continue
		}
		// It replaces one that was evicted, which keeps its due time.
		key.use.written = older.use.written
		if used, newer := u.unlist(&older.use), key.use.at.Load(); used > newer {
			key.use.at.CompareAndSwap(newer, used) // unless it was used just now
		}
	}
	return due
}
