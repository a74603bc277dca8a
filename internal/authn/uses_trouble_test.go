package authn

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// The use of a key is tracked across its eviction and a new look-up, or a change of
// the key.
func TestFlushUses_evictedMeanwhile(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s, n := new(source), new(notebook)
		token, key := aliveFor(s, time.Hour)
		a := newAuthenticator(t, s, time.Now)
		n.keep(t, a)
		time.Sleep(500 * time.Millisecond)
		var last time.Time
		for range 100 {
			old, _, err := a.keys.get(context.Background(), key.Digest)
			if err != nil {
				t.Fatal(err)
			}
			checkResult(t, "use", get(a, token), Allowed)
			a.Changed(apikey.Outcome{Stale: []apikey.Digest{key.Digest}})
			checkResult(t, "use", get(a, token), Allowed)
			last = time.Now()
			a.uses.note(old, last, nil) // by a late request
			time.Sleep(100 * time.Millisecond)
		}
		if _, writes := n.read(key); writes != 1 {
			t.Errorf("got %d writes in ten seconds, want 1", writes)
		}
		a.Changed(apikey.Outcome{Stale: []apikey.Digest{key.Digest}})
		time.Sleep(resolution + time.Second)
		n.shows(t, "used no more", key, last)
		time.Sleep(2 * resolution)
		if got := a.uses.count.Load(); got != 0 {
			t.Errorf("got %d uses followed in the end, want none", got)
		}
	})
}

func TestFlushUses_failing(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s, n := new(source), &notebook{fails: true}
		token, key := aliveFor(s, time.Hour)
		a := newAuthenticator(t, s, time.Now)
		checkResult(t, "use", get(a, token), Allowed)
		for range 3 {
			time.Sleep(time.Second)
			if err := a.FlushUses(time.Now(), resolution, n.write); err != errNoPaper {
				t.Errorf("got error %v, want what write said", err)
			}
			checkResult(t, "use", get(a, token), Allowed)
		}
		last := time.Now()
		n.fails = false
		if err := a.FlushUses(time.Now(), resolution, n.write); err != nil {
			t.Error(err)
		}
		n.shows(t, "when it works again", key, last)
	})
}

// The final flush writes everything, even what was written recently.
func TestFlushUses_end(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s, n := new(source), new(notebook)
		token, key := aliveFor(s, time.Hour)
		a := newAuthenticator(t, s, time.Now)
		for range 3 {
			checkResult(t, "use", get(a, token), Allowed)
			if err := a.FlushUses(time.Now(), resolution, n.write); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Second)
		}
		checkResult(t, "use", get(a, token), Allowed)
		a.Close()
		if err := a.FlushUses(time.Now(), 0, n.write); err != nil {
			t.Error(err)
		}
		n.shows(t, "after closing", key, time.Now())
	})
}

// A clock that was ahead and is corrected does not hide later uses.
func TestFlushUses_clockSetRight(t *testing.T) {
	s, n := new(source), new(notebook)
	token, key := s.add()
	now := epoch.Add(30 * time.Minute)
	a := newAuthenticator(t, s, func() time.Time { return now })
	for _, want := range []time.Time{now, epoch} {
		now = want
		checkResult(t, "use", get(a, token), Allowed)
		if err := a.FlushUses(time.Now(), 0, n.write); err != nil {
			t.Error(err)
		}
		if got := n.lastUsed[key.ID]; !got.Equal(want) {
			t.Errorf("got a last use at %v, want %v", got, want)
		}
	}
}

// Uses during flushes are never lost.
func TestFlushUses_atOnce(t *testing.T) {
	s, n := new(source), new(notebook)
	a := newAuthenticator(t, s, time.Now)
	var keys []*entry
	for range 8 {
		keys = append(keys, &entry{Grant: anyGrant()})
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	for worker := range 4 {
		wg.Go(func() {
			for i := range 20_000 {
				a.uses.note(keys[(worker+i)%len(keys)], epoch.Add(time.Duration(i)*time.Millisecond), nil)
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	for going := true; going; {
		select {
		case <-done:
			going = false
		default:
		}
		if err := a.FlushUses(time.Now(), 0, n.write); err != nil {
			t.Error(err)
		}
	}
	for _, key := range keys {
		if got, want := n.lastUsed[key.ID()].UnixMilli(), key.use.at.Load(); got != want {
			t.Errorf("got a last use at %d, want %d", got, want)
		}
	}
}

// Keys beyond the limit are not tracked until there is room.
func TestFlushUses_bounded(t *testing.T) {
	a, n := newAuthenticator(t, new(source), atEpoch), new(notebook)
	keys := make([]entry, maxUses+10)
	for i := range keys {
		keys[i].Grant = anyGrant()
		a.uses.note(&keys[i], epoch, nil)
	}
	flush := func() {
		if err := a.FlushUses(time.Now(), 0, n.write); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	if got := len(n.lastUsed); got != maxUses {
		t.Errorf("got %d keys noted, want %d", got, maxUses)
	}
	flush() // not used since
	for i := range keys {
		a.uses.note(&keys[i], epoch.Add(time.Second), nil)
	}
	flush()
	flush()
	for i := range keys {
		a.uses.note(&keys[i], epoch.Add(2*time.Second), nil)
	}
	if got := a.uses.count.Load(); got != maxUses {
		t.Errorf("got %d keys followed, want %d", got, maxUses)
	}
}
