package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

const resolution = time.Minute

// notebook records what is flushed into it.
type notebook struct {
	mu       sync.Mutex
	lastUsed map[string]time.Time
	from     map[string]string
	writes   int
	fails    bool
}

var errNoPaper = errors.New("no paper")

func (n *notebook) write(uses map[string]apikey.Use) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails {
		return errNoPaper
	}
	n.writes += len(uses)
	if n.lastUsed == nil {
		n.lastUsed, n.from = map[string]time.Time{}, map[string]string{}
	}
	for id, use := range uses {
		n.lastUsed[id], n.from[id] = use.At, use.From
	}
	return nil
}

// read returns the last use of a key, and the number of writes.
func (n *notebook) read(key apikey.Key) (lastUsed time.Time, writes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.lastUsed[key.ID], n.writes
}

// keep flushes once a second until the test ends.
func (n *notebook) keep(t *testing.T, a *Authenticator) {
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.Cleanup(func() { stop(); wg.Wait() })
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := a.FlushUses(time.Now(), resolution, n.write); err != nil {
					t.Errorf("FlushUses: got error %v, want none", err)
				}
			}
		}
	})
}

func (n *notebook) shows(t *testing.T, what string, key apikey.Key, want time.Time) {
	t.Helper()
	bubble.Wait()
	if got, _ := n.read(key); !got.Equal(want) {
		t.Errorf("%s: got a last use at %v, want %v", what, got, want)
	}
}

func aliveFor(s *source, life time.Duration) (apikey.Token, apikey.Key) {
	token, key := s.add()
	key.ExpiresAt = time.Now().Add(life)
	s.put(key)
	return token, key
}

func TestFlushUses(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s, n := new(source), new(notebook)
		token, key := aliveFor(s, time.Hour)
		_, unused := aliveFor(s, time.Hour)
		a := newAuthenticator(t, s, time.Now)
		n.keep(t, a)
		time.Sleep(500 * time.Millisecond) // between two flushes
		use := func() time.Time {
			checkResult(t, "use", get(a, token), Allowed)
			return time.Now()
		}
		first := use()
		n.shows(t, "at once", key, time.Time{})
		time.Sleep(time.Second)
		n.shows(t, "a second later", key, first)

		time.Sleep(resolution / 2)
		second := use()
		time.Sleep(resolution / 4)
		last := use()
		if last.Equal(second) {
			t.Fatal("the clock stands")
		}
		n.shows(t, "within the resolution", key, first)
		time.Sleep(resolution/4 + time.Second)
		n.shows(t, "the resolution and a second later", key, last)
		if _, writes := n.read(key); writes != 2 {
			t.Errorf("got %d writes of three uses, want 2", writes)
		}
		n.shows(t, "a key that was not used", unused, time.Time{})

		time.Sleep(2*resolution + time.Second)
		if got := a.uses.count.Load(); got != 0 {
			t.Errorf("got %d keys followed that are not used, want none", got)
		}
		again := use()
		time.Sleep(time.Second)
		n.shows(t, "after a pause", key, again)
	})
}

// For any pattern of use, the last use is visible within the resolution and a
// second, and it is written no more often than once per resolution.
func TestFlushUses_always(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s, n := new(source), new(notebook)
		token, key := aliveFor(s, 100*time.Hour)
		a := newAuthenticator(t, s, time.Now)
		n.keep(t, a)
		begin := time.Now()
		for _, pause := range []time.Duration{1, 7, 61, 293, 997, 1009, 30_000, 59_999, 60_000, 60_001, 61_000, 150_007} {
			var last time.Time
			var hidden []time.Time
			for range 200 {
				time.Sleep(pause * time.Millisecond)
				checkResult(t, "use", get(a, token), Allowed)
				last = time.Now()
				hidden = append(hidden, last)
				bubble.Wait()
				shown, _ := n.read(key)
				for len(hidden) > 0 && !hidden[0].After(shown) {
					hidden = hidden[1:]
				}
				if len(hidden) > 0 && time.Since(hidden[0]) > resolution+time.Second {
					t.Fatalf("at pauses of %v: a use was not shown after %v", pause*time.Millisecond, time.Since(hidden[0]))
				}
			}
			time.Sleep(resolution + time.Second)
			n.shows(t, "in the end", key, last)
		}
		_, writes := n.read(key)
		if most := int(time.Since(begin)/resolution) + 2; writes > most {
			t.Errorf("got %d writes in %v, want at most %d", writes, time.Since(begin), most)
		}
	})
}

// Every request with an active key of a workspace that is not suspended is a use,
// whether or not it passes.
func TestFlushUses_whatIsAUse(t *testing.T) {
	limited := &Policy{ReadMethods: policy.ReadMethods, ReadLimit: limitOf(1, time.Hour)}
	for _, test := range []struct {
		title  string
		change func(*source, *Authenticator, apikey.Key)
		facts  func(*Facts)
		policy *Policy
		want   Result
		use    bool
	}{
		{title: "allowed", want: Allowed, use: true},
		{title: "a write", facts: func(f *Facts) { f.Method = http.MethodPost }, want: ReadOnly, use: true},
		{title: "a browser", facts: func(f *Facts) { f.Browser = true }, want: Browser, use: true},
		{title: "over the limit", policy: limited, want: RateLimited, use: true},
		{title: "revoked", change: revoke, want: Revoked},
		{title: "expired", change: func(s *source, _ *Authenticator, key apikey.Key) {
			key.ExpiresAt = epoch
			s.put(key)
		}, want: Expired},
		{title: "suspended", change: func(_ *source, a *Authenticator, key apikey.Key) {
			a.Changed(apikey.Outcome{Workspace: apikey.Workspace{ID: key.WorkspaceID, SuspendedAt: epoch}})
		}, want: Suspended},
		{title: "a preflight", facts: func(f *Facts) { f.Preflight = true }, want: Preflight},
		{title: "another method", facts: func(f *Facts) { f.Method = http.MethodTrace }, want: MethodNotAllowed},
		{title: "early data", facts: func(f *Facts) { f.EarlyData, f.Method = true, http.MethodPost }, want: EarlyData},
	} {
		t.Run(test.title, func(t *testing.T) {
			s, n := new(source), new(notebook)
			token, key := s.add()
			key.Preset = apikey.ReadOnly
			s.put(key)
			a := newAuthenticator(t, s, atEpoch)
			if test.change != nil {
				test.change(s, a, key)
			}
			facts := request(http.MethodGet, token)
			if test.facts != nil {
				test.facts(facts)
			}
			rules := policy
			if test.policy != nil {
				rules = test.policy
				a.Check(context.Background(), rules, facts)
			}
			checkResult(t, "check", a.Check(context.Background(), rules, facts), test.want)
			if err := a.FlushUses(time.Now(), resolution, n.write); err != nil {
				t.Fatal(err)
			}
			if _, noted := n.lastUsed[key.ID]; noted != test.use {
				t.Errorf("got it noted: %t, want %t", noted, test.use)
			}
		})
	}
}

func anyGrant() apikey.Grant {
	id := apikey.NewKeyID(epoch)
	key := apikey.Key{ID: id, Digest: sha256.Sum256([]byte(id))}
	return key.Grant()
}

// address is a client with the given address.
type address string

func (a address) Address() netip.Addr { return netip.MustParseAddr(string(a)) }

// The client's address is requested once for each use that is written.
func TestFlushUses_from(t *testing.T) {
	s, n := new(source), new(notebook)
	token, key := s.add()
	now := epoch
	a := newAuthenticator(t, s, func() time.Time { return now })
	use := func(from Client) {
		t.Helper()
		facts := request(http.MethodGet, token)
		facts.Client = from
		checkResult(t, "check", a.Check(context.Background(), policy, facts), Allowed)
		now = now.Add(time.Second)
	}
	for _, test := range []struct {
		by   []address
		want string
	}{
		{[]address{"192.0.2.1", "192.0.2.2"}, "192.0.2.1"},
		{[]address{"192.0.2.3"}, "192.0.2.3"},
		{[]address{"2001:db8::1", "192.0.2.3"}, "2001:db8::1"},
	} {
		for _, from := range test.by {
			use(from)
		}
		if err := a.FlushUses(now, 0, n.write); err != nil {
			t.Fatal(err)
		}
		if got := n.from[key.ID]; got != test.want {
			t.Errorf("after uses by %v: got %q noted, want %q", test.by, got, test.want)
		}
	}

	use(nil)
	if err := a.FlushUses(now, 0, func(uses map[string]apikey.Use) error {
		use(address("192.0.2.4"))
		return n.write(uses)
	}); err != nil {
		t.Fatal(err)
	}
	if err := a.FlushUses(now, 0, n.write); err != nil {
		t.Fatal(err)
	}
	if got, want := n.from[key.ID], "192.0.2.4"; got != want {
		t.Errorf("after a use during a write: got %q noted, want %q", got, want)
	}
}
