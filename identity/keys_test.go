package identity_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/identity"
)

// movable is a clock that a test moves.
type movable struct{ seconds atomic.Int64 }

func (m *movable) now() time.Time       { return time.Unix(second+m.seconds.Load(), 0) }
func (m *movable) move(d time.Duration) { m.seconds.Add(int64(d / time.Second)) }

// waiting is a verifier, its clock, and the endpoint where it gets keys.
type waiting struct {
	*endpoint
	*movable
	v *identity.Verifier
}

func newWaiting(t *testing.T, set string, options ...identity.Option) *waiting {
	t.Helper()
	w := &waiting{endpoint: serveKeys(t, set), movable: &movable{}}
	w.v = w.verifier(t, options...)
	w.v.SetClock(w.now)
	return w
}

// verify verifies an assertion that was issued now, signed with a key and its id.
func (w *waiting) verify(t *testing.T, kid, key string) error {
	t.Helper()
	header := strings.Replace(honestHeader, testKID, kid, 1)
	since := w.seconds.Load()
	_, err := w.v.Verify(t.Context(), sign(signingKey(key), header, claims(lives(since, since+60))))
	return err
}

// want checks what becomes of an assertion, and how often keys have been fetched since
// the test began.
func (w *waiting) want(t *testing.T, kid, key string, want error, fetches int64) {
	t.Helper()
	err := w.verify(t, kid, key)
	w.v.Settled()
	if !errors.Is(err, want) {
		t.Errorf("got the error %v, want %v", err, want)
	}
	if got := w.fetches.Load(); got != fetches {
		t.Errorf("got %d fetches, want %d", got, fetches)
	}
}

func TestKeys_fetchedWhenNeeded(t *testing.T) {
	w := newWaiting(t, jwks(jwk("a", signingKey("a"))))
	if got := w.fetches.Load(); got != 0 {
		t.Errorf("got %d fetches before the first assertion, want none", got)
	}
	w.want(t, "a", "a", nil, 1)
	w.want(t, "a", "a", nil, 1)
	w.move(149 * time.Second)
	w.want(t, "a", "a", nil, 1)
	w.move(time.Second) // half of the max-age
	w.want(t, "a", "a", nil, 2)
	if got := w.same.Load(); got != 1 {
		t.Errorf("got %d answers with 304, want 1", got)
	}
	w.move(149 * time.Second)
	w.want(t, "a", "a", nil, 2) // the 304 made it fresh again
	w.move(time.Hour)
	w.want(t, "a", "a", nil, 3)
}

func TestKeys_rotation(t *testing.T) {
	w := newWaiting(t, jwks(jwk("a", signingKey("a"))))
	w.want(t, "a", "a", nil, 1)
	set := jwks(jwk("a", signingKey("a")), jwk("b", signingKey("b")))
	w.body.Store(&set)
	w.want(t, "b", "b", identity.ErrRefused, 1) // too soon to ask again
	w.move(identity.FetchInterval)
	w.want(t, "b", "b", nil, 2)
	w.want(t, "a", "a", nil, 2)

	set = jwks(jwk("b", signingKey("b")))
	w.body.Store(&set)
	w.move(5 * time.Minute)
	w.want(t, "a", "a", identity.ErrRefused, 3) // no longer published
	w.want(t, "b", "b", nil, 3)

	set = jwks()
	w.body.Store(&set)
	w.move(5 * time.Minute)
	w.want(t, "b", "b", identity.ErrRefused, 4)
}

// Ids that clients invent cause no more than one fetch in ten seconds.
func TestKeys_inventedIDs(t *testing.T) {
	w := newWaiting(t, jwks(jwk("a", signingKey("a"))))
	w.want(t, "a", "a", nil, 1)
	for round := range int64(3) {
		w.move(identity.FetchInterval)
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if err := w.verify(t, "invented-"+strconv.Itoa(i), "attacker"); !errors.Is(err, identity.ErrRefused) {
					t.Errorf("got the error %v, want an ErrRefused", err)
				}
			})
		}
		all.Wait()
		w.want(t, "a", "a", nil, 2+round)
	}
}

// All requests that need keys wait for one fetch.
func TestKeys_stampede(t *testing.T) {
	arrived, release := make(chan bool), make(chan bool)
	var fetches atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetches.Add(1)
		arrived <- true
		<-release
		_, _ = w.Write([]byte(jwks(jwk(testKID, signingKey("a")))))
	}))
	defer server.Close()
	v := (&endpoint{Server: server}).verifier(t)

	impatient, giveUp := context.WithCancel(t.Context())
	first := make(chan error)
	go func() { _, err := v.Verify(impatient, token(nil)); first <- err }()
	<-arrived
	giveUp()
	if err := <-first; !errors.Is(err, identity.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("the request that ended got the error %v, want an ErrUnavailable", err)
	}

	// The fetch continues for the others.
	var all, begun sync.WaitGroup
	for range 100 {
		begun.Add(1)
		all.Go(func() {
			begun.Done()
			if _, err := v.Verify(t.Context(), token(nil)); err != nil {
				t.Error(err)
			}
		})
	}
	begun.Wait()
	close(release)
	all.Wait()
	if got := fetches.Load(); got != 1 {
		t.Errorf("got %d fetches, want 1", got)
	}
}

func TestKeys_outage(t *testing.T) {
	var log strings.Builder
	w := newWaiting(t, jwks(jwk("a", signingKey("a"))), identity.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	w.want(t, "a", "a", nil, 1)
	w.status.Store(http.StatusBadGateway)
	w.move(time.Hour)
	w.want(t, "a", "a", nil, 2) // stale, but the best there is
	w.want(t, "b", "b", identity.ErrUnavailable, 2)
	w.want(t, "a", "a", nil, 2)
	for i := range int64(3) {
		w.move(identity.FetchInterval)
		w.want(t, "a", "a", nil, 3+i)
	}
	w.move(identity.GraceTime + 5*time.Minute - time.Hour - 3*identity.FetchInterval - time.Second)
	w.want(t, "a", "a", nil, 6)
	w.move(time.Second)
	w.want(t, "a", "a", identity.ErrUnavailable, 6) // asked a second ago
	w.move(identity.FetchInterval)
	w.want(t, "a", "a", identity.ErrUnavailable, 7)

	w.status.Store(0)
	w.move(identity.FetchInterval)
	w.want(t, "a", "a", nil, 8)
	for message, want := range map[string]int{"cannot fetch the keys": 1, "status 502": 1, "fetched the keys of the API-key gateway again": 1} {
		if got := strings.Count(log.String(), message); got != want {
			t.Errorf("%q is in the log %d times, want %d:\n%s", message, got, want, &log)
		}
	}
}

// A program that has never had keys lets nobody in.
func TestKeys_never(t *testing.T) {
	w := newWaiting(t, "")
	w.status.Store(http.StatusNotFound)
	w.want(t, "a", "a", identity.ErrUnavailable, 1)
	w.want(t, "a", "a", identity.ErrUnavailable, 1)
	w.Close()
	w.move(identity.FetchInterval)
	w.want(t, "a", "a", identity.ErrUnavailable, 1)
}

// While an endpoint that has failed hangs, requests continue with the known keys.
func TestKeys_hangs(t *testing.T) {
	w := newWaiting(t, jwks(jwk("a", signingKey("a"))))
	w.want(t, "a", "a", nil, 1)
	w.status.Store(http.StatusBadGateway)
	w.move(time.Hour)
	w.want(t, "a", "a", nil, 2)

	hang := make(chan bool)
	w.hang.Store(&hang)
	w.move(identity.FetchInterval)
	if err := w.verify(t, "a", "a"); err != nil {
		t.Errorf("got the error %v, want none", err)
	}
	close(hang)
	w.v.Settled()
}

// What cannot be a set of keys changes nothing.
func TestKeys_refusedSets(t *testing.T) {
	many := make([]string, 10_000)
	for i, key := 0, signingKey("a"); i < len(many); i++ {
		many[i] = jwk("k"+strconv.Itoa(i), key)
	}
	for name, set := range map[string]string{
		"10,000 keys":   jwks(many...),
		"too long":      jwks(jwk("b", signingKey("b"))) + strings.Repeat(" ", identity.MaxSet),
		"a page":        "<html>",
		"a private key": jwks(addTo(jwk("b", signingKey("b")), `"d":"`+b64(signingKey("b").Seed())+`"`)),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWaiting(t, jwks(jwk("a", signingKey("a"))))
			w.want(t, "a", "a", nil, 1)
			w.body.Store(&set)
			w.move(time.Hour)
			w.want(t, "a", "a", nil, 2)
			w.want(t, "b", "b", identity.ErrUnavailable, 2)
		})
	}
}

func TestKeys_redirects(t *testing.T) {
	elsewhere := serveKeys(t, jwks(jwk("a", signingKey("a"))))
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, status))
		v := (&endpoint{Server: server}).verifier(t, identity.WithHTTPClient(&http.Client{}))
		if _, err := v.Verify(t.Context(), token(nil)); !errors.Is(err, identity.ErrUnavailable) {
			t.Errorf("%d: got the error %v, want an ErrUnavailable", status, err)
		}
		server.Close()
	}
	if got := elsewhere.fetches.Load(); got != 0 {
		t.Errorf("%d redirects were followed", got)
	}
}

func TestKeys_maxAge(t *testing.T) {
	tests := []struct {
		cacheControl string
		want         time.Duration
	}{
		{"public, max-age=300", 300 * time.Second},
		{"max-age=600", 600 * time.Second},
		{"Public,MAX-AGE=600", 600 * time.Second},
		{"", identity.DefaultMaxAge},
		{"public", identity.DefaultMaxAge},
		{"max-age=0", identity.FetchInterval},
		{"max-age=1", identity.FetchInterval},
		{"max-age=-1", identity.FetchInterval},
		{"max-age=x", identity.FetchInterval},
		{"max-age=99999999999999999999", identity.FetchInterval},
		{"max-age=86400", identity.LongestMaxAge},
		{"no-store", identity.FetchInterval},
		{"no-cache, max-age=300", identity.FetchInterval},
	}
	for _, test := range tests {
		if got := identity.MaxAge(http.Header{"Cache-Control": {test.cacheControl}}); got != test.want {
			t.Errorf("%q: got %v, want %v", test.cacheControl, got, test.want)
		}
	}
	if got := identity.MaxAge(nil); got != identity.DefaultMaxAge {
		t.Errorf("without the header: got %v, want %v", got, identity.DefaultMaxAge)
	}
}
