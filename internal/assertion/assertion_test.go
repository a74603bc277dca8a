package assertion

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

var terms = Terms{Issuer: "https://api.example.com", Audience: "contacts", Lifetime: time.Minute}

// testSigner returns a signer with new keys.
func testSigner(t testing.TB) *Signer {
	t.Helper()
	record, _, err := Renew(nil, Schedule{Every: 30 * day, Now: time.Now()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := new(Signer)
	s.Use(open(t, record, nil))
	return s
}

const day = 24 * time.Hour

func open(t testing.TB, record []byte, secrets Secrets) *Ring {
	t.Helper()
	ring, err := Open(record, secrets)
	if err != nil {
		t.Fatalf("Open: got error %v, want none", err)
	}
	return ring
}

func testKey(life time.Duration) *apikey.Grant {
	key := apikey.Key{ID: "key_01M85NMXCRPQAH7NX5PN817E75", WorkspaceID: "acme", ExpiresAt: time.Now().Add(life)}
	granted := key.Grant()
	return &granted
}

// verifier verifies with the public keys of a ring.
func verifier(t testing.TB, ring *Ring) *identity.Verifier {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		set, _ := ring.PublicKeys()
		_, _ = w.Write(set)
	}))
	t.Cleanup(server.Close)
	v, err := identity.NewVerifier(server.URL, terms.Audience, identity.WithIssuer(terms.Issuer))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSigner_verifies(t *testing.T) {
	s, key, now := testSigner(t), testKey(time.Hour), time.Now()
	v := verifier(t, s.Ring())
	want := identity.Claims{
		Issuer: terms.Issuer, Audience: terms.Audience, IssuedAt: now.Unix(), ExpiresAt: now.Unix() + 60,
		KeyID: key.ID(), WorkspaceID: "acme", Access: "read_only",
	}
	if got, err := v.Verify(t.Context(), s.Assertion(&terms, new(Slot), key, now)); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	want.Method, want.Path = "GET", `/a%22%3C"<b>`
	if got, err := v.Verify(t.Context(), s.Bound(&terms, key, now, want.Method, want.Path)); err != nil || got != want {
		t.Errorf("bound: got %+v, %v; want %+v", got, err, want)
	}
}

// An assertion is reused while it has 30 seconds to live, and not for other terms or by
// another signing key.
func TestSigner_reuse(t *testing.T) {
	s, key, slot, now := testSigner(t), testKey(time.Hour), new(Slot), time.Now().Truncate(time.Second)
	for _, test := range []struct {
		after time.Duration
		same  bool
	}{{0, true}, {29 * time.Second, true}, {29*time.Second + 999*time.Millisecond, true}, {30 * time.Second, false}, {-time.Second, false}} {
		slot := slotOf(t, s, key, now)
		before := slot.latest.Load().token
		if got := s.Assertion(&terms, slot, key, now.Add(test.after)) == before; got != test.same {
			t.Errorf("after %v: got reused %t, want %t", test.after, got, test.same)
		}
	}
	for n := range 10 {
		other := terms
		other.Audience = fmt.Sprint(n)
		s.Assertion(&other, slot, key, now)
	}
	if got := length(slot); got != maxHeld {
		t.Errorf("got %d assertions kept for different terms, want %d", got, maxHeld)
	}
	slot = new(Slot)
	first := s.Assertion(&terms, slot, key, now)
	other := terms
	other.Issuer = "https://other.example.com"
	if s.Assertion(&other, slot, key, now) == first {
		t.Error("got the assertion of one issuer for another")
	}
	if s.Assertion(&terms, slot, key, now) != first {
		t.Error("got another assertion, want the one that was kept along with that for other terms")
	}
	s.Use(testSigner(t).Ring())
	if s.Assertion(&terms, slot, key, now) == first {
		t.Error("got an assertion by a signing key that is not used any more")
	}
}

func slotOf(t *testing.T, s *Signer, key *apikey.Grant, at time.Time) *Slot {
	t.Helper()
	slot := new(Slot)
	s.Assertion(&terms, slot, key, at)
	return slot
}

func length(slot *Slot) (n int) {
	for m := slot.latest.Load(); m != nil; m = m.next {
		n++
	}
	return n
}

// An assertion never outlives its key, and one that ends with the key is reused until then.
func TestSigner_endsWithTheKey(t *testing.T) {
	s, now := testSigner(t), time.Now().Truncate(time.Second).Add(300*time.Millisecond)
	for _, test := range []struct {
		name string
		key  func(*apikey.Grant)
		want time.Duration
	}{
		{"a key that lives on", func(k *apikey.Grant) { k.ExpiresAt = apikey.InstantOf(now.Add(time.Hour)) }, 60},
		{"expiry", func(k *apikey.Grant) { k.ExpiresAt = apikey.InstantOf(now.Add(10 * time.Second)) }, 10},
		{"scheduled revocation", func(k *apikey.Grant) {
			k.ExpiresAt = apikey.InstantOf(now.Add(time.Hour))
			k.SetRare(apikey.Rare{RevokesAt: apikey.InstantOf(now.Add(20 * time.Second))})
		}, 20},
		{"within this second", func(k *apikey.Grant) { k.ExpiresAt = apikey.InstantOf(now.Add(100 * time.Millisecond)) }, 0},
	} {
		key, slot := testKey(0), new(Slot)
		test.key(key)
		token := s.Assertion(&terms, slot, key, now)
		if got := time.Duration(claimsOf(t, token).ExpiresAt - now.Unix()); got != test.want {
			t.Errorf("%s: got an assertion that lives for %d s, want %d", test.name, got, test.want)
		}
		if test.want > 0 && s.Assertion(&terms, slot, key, now.Add(time.Second)) != token {
			t.Errorf("%s: got another assertion a second later, want the same", test.name)
		}
	}
}

func claimsOf(t *testing.T, token string) (c identity.Claims) {
	t.Helper()
	payload, err := decodePart(strings.Split(token, ".")[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Keys that are not used keep no memory for assertions.
func TestSigner_sweep(t *testing.T) {
	s, now := testSigner(t), time.Now()
	old, used := slotOf(t, s, testKey(time.Hour), now), slotOf(t, s, testKey(time.Hour), now.Add(25*time.Second))
	s.Sweep(now.Add(31 * time.Second))
	if got := length(old); got != 0 || old.latest.Load() != nil {
		t.Errorf("got %d assertions of a key that is not used, want none", got)
	}
	if length(used) != 1 || len(s.held) != 1 {
		t.Errorf("got %d assertions of a key in use, and %d keys, want 1 and 1", length(used), len(s.held))
	}
	s.Sweep(now.Add(time.Hour))
	if len(s.held) != 0 {
		t.Errorf("got %d keys with assertions, want none", len(s.held))
	}
	s.Assertion(&terms, old, testKey(2*time.Hour), now.Add(time.Hour))
	if len(s.held) != 1 {
		t.Errorf("got %d keys with assertions after another use, want 1", len(s.held))
	}
}

// Many requests of one key, rotation and the sweep happen at the same time.
func TestSigner_concurrently(t *testing.T) {
	s, key, slot := testSigner(t), testKey(time.Hour), new(Slot)
	rings := []*Ring{s.Ring(), testSigner(t).Ring()}
	done := make(chan bool)
	for worker := range 4 {
		go func() {
			for n := range 50 {
				now := time.Now().Add(time.Duration(n) * 10 * time.Second)
				switch {
				case worker == 0:
					s.Sweep(now)
					s.Use(rings[n%2])
				default:
					s.Assertion(&terms, slot, key, now)
				}
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
}

func BenchmarkSigner(b *testing.B) {
	s, key, slot, now := testSigner(b), testKey(time.Hour), new(Slot), time.Now()
	b.Run("reused", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Assertion(&terms, slot, key, now)
		}
	})
	b.Run("signed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Bound(&terms, key, now, "GET", "/public/v1/orders")
		}
	})
}
