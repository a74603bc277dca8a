package caddymodule

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/store"
)

const signedSite = "api_key_auth {\n assertion {\n issuer https://api.example.com\n audience contacts\n }\n }\n reverse_proxy {{.Upstream}}"

// kids returns the ids of the published keys.
func (s *server) kids() (ids []string) {
	s.T.Helper()
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal([]byte(s.publicKeys().Body), &set); err != nil {
		s.T.Fatal(err)
	}
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

// publicKeys returns the answer to a request for the public keys. While the servers of an
// earlier configuration stop, they may close a connection that they have just accepted.
func (s *server) publicKeys() (got gatewaytest.Answer) {
	s.T.Helper()
	gatewaytest.Await(s.T, "an answer to GET "+defaultJWKSPath, func() bool {
		var err error
		got, err = gatewaytest.TryRaw(s.Plain, "GET "+defaultJWKSPath+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return err == nil
	})
	return got
}

// TestSigning_rotation: once it is due, another key signs, one that was announced; the
// assertions by the former one are still valid, and are not reused.
func TestSigning_rotation(t *testing.T) {
	s := newServer(t)
	old, err := store.Open(s.Store, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	long := time.Now().Add(-31 * 24 * time.Hour)
	if err := old.RenewSigningKeys(t.Context(), long, func([]byte) ([]byte, error) {
		record, _, err := assertion.Renew(nil, assertion.Schedule{Now: long}, nil)
		return record, err
	}); err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	s.mustLoad(signedSite)
	k, c, before := s.create(apikey.FullAccess), s.Clients(t)[0], s.kids()
	send := func() string {
		t.Helper()
		c.Send(t, "GET", "/", nil, "Authorization", "Bearer "+k.token)
		return s.Upstream.Take()[0].Values(identity.AssertionHeader)[0]
	}
	first := send()

	i := s.instance()
	if err := i.keepSigning(t.Context()); err != nil || len(s.kids()) != 2 {
		t.Fatalf("got the keys %v, %v, right after the start; want those as they were", s.kids(), err)
	}
	i.signing.mu.Lock()
	i.signing.since = i.signing.since.Add(-2 * time.Hour)
	i.signing.mu.Unlock()
	if err := i.keepSigning(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Await("the keys to be loaded", func() bool { return len(s.kids()) == 3 })
	second := send()
	if first == second {
		t.Error("got the assertion by the former key again")
	}
	if got := fmt.Sprint(i.signing.Ring()); !strings.Contains(got, before[1]) {
		t.Errorf("got %s, want the announced key %s to sign", got, before[1])
	}
	v, err := identity.NewVerifier("http://"+s.Plain+defaultJWKSPath, "contacts", identity.WithIssuer("https://api.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{first, second} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Errorf("got error %v after the rotation, want none", err)
		}
	}
}

// TestSigning_fromReload: a configuration that begins to sign makes the keys, and one that
// signs no more serves none.
func TestSigning_fromReload(t *testing.T) {
	const plain = "api_key_auth\n reverse_proxy {{.Upstream}}"
	s := serve(t, plain)
	if got := s.publicKeys().Status; got != 401 {
		t.Errorf("got status %d where nothing is signed, want 401", got)
	}
	s.mustLoad(signedSite)
	before := s.kids()
	s.mustLoad(plain)
	if got := s.publicKeys().Status; got != 401 {
		t.Errorf("got status %d where nothing is signed any more, want 401", got)
	}
	s.mustLoad(signedSite)
	if after := s.kids(); len(before) != 2 || after[0] != before[0] {
		t.Errorf("got the keys %v, then %v, want the same", before, after)
	}
}

// TestSigning_cannotSign: without keys to sign with, no request passes, and the public keys
// are not there.
func TestSigning_cannotSign(t *testing.T) {
	s := serve(t, signedSite)
	k, c := s.create(apikey.FullAccess), s.Clients(t)[0]
	i := s.instance()
	i.signing.Use(nil)
	for _, path := range []string{"/", defaultJWKSPath} {
		got := c.Send(t, "GET", path, nil, "Authorization", "Bearer "+k.token)
		if got.Status != 503 || got.Header.Get("Retry-After") != "1" || len(s.Upstream.Take()) != 0 {
			t.Errorf("GET %s: got %d %v, want 503 and nothing upstream", path, got.Status, got.Header)
		}
	}
}

// TestSigning_refusedReload: a configuration that cannot use the signing keys is refused,
// and the running one stays in force.
func TestSigning_refusedReload(t *testing.T) {
	s := newServer(t)
	config := string(s.config(signedSite))
	withKey := func(key string) []byte {
		return []byte(strings.Replace(config, `"api_keys":{`, `"api_keys":{"encryption_keys":["`+key+`"],`, 1))
	}
	if err := load(withKey(firstKey)); err != nil {
		t.Fatal(err)
	}
	before := s.kids()
	for _, other := range [][]byte{withKey(secondKey), []byte(config)} {
		if err := load(other); err == nil || !strings.Contains(err.Error(), assertion.ErrSecret.Error()) {
			t.Errorf("got error %v, want one saying that the keys are encrypted with another key", err)
		}
	}
	if err := s.instance().keepSigning(t.Context()); err != nil {
		t.Errorf("got error %v after the refusals, want none", err)
	}
	if after := s.kids(); after[0] != before[0] {
		t.Errorf("got the keys %v after the refusals, want %v", after, before)
	}
	if err := load(withKey(secondKey + `","` + firstKey)); err != nil {
		t.Fatal(err)
	}
	if err := load(withKey(secondKey)); err != nil {
		t.Errorf("got error %v with the new key alone, want none", err)
	}
}

// TestSigning_refusedChangesNothing: a configuration that is refused, for whatever reason,
// leaves the signing keys in the store as they were, even if it had adopted the store.
func TestSigning_refusedChangesNothing(t *testing.T) {
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()
	broken := "http://" + occupied.Addr().String() + " {\n bind 127.0.0.1\n respond ok\n}\n"
	withKeys := func(config []byte, keys ...string) []byte {
		if len(keys) == 0 {
			return config
		}
		list := `"api_keys":{"encryption_keys":["` + strings.Join(keys, `","`) + `"],`
		return []byte(strings.Replace(string(config), `"api_keys":{`, list, 1))
	}
	often := strings.Replace(signedSite, "audience contacts", "audience contacts\n rotate_every 1m", 1)
	for name, test := range map[string]struct {
		running     string
		runningKeys []string
		refused     string
		refusedKeys []string
	}{
		"first keys":           {proxied, nil, signedSite, []string{secondKey}},
		"encryption":           {signedSite, nil, signedSite, []string{secondKey}},
		"another secret":       {signedSite, []string{firstKey}, signedSite, []string{secondKey, firstKey}},
		"a rotation":           {signedSite, nil, often, nil},
		"nothing signs":        {signedSite, []string{firstKey}, proxied, nil},
		"the secret is wanted": {signedSite, []string{firstKey}, signedSite, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			site := func(lines string) string { return "http://:{{.Port}} {\n bind 127.0.0.1\n" + lines + "\n}\n" }
			running := withKeys(s.adapt(site(test.running)), test.runningKeys...)
			if err := load(running); err != nil {
				t.Fatal(err)
			}
			i := s.instance()
			if err := i.keepSigning(t.Context()); err != nil {
				t.Fatal(err)
			}
			long := time.Now().Add(-time.Hour)
			i.signing.mu.Lock()
			if !i.signing.since.IsZero() {
				i.signing.since = long // a rotation is possible at any time
			}
			i.signing.mu.Unlock()
			before, err := i.store.SigningKeys()
			if err != nil {
				t.Fatal(err)
			}
			refused := withKeys(s.adapt(site(test.refused)+broken), test.refusedKeys...)
			settings := i.settings.Load()
			for range 50 { // Caddy starts apps in random order
				if err := load(refused); err == nil {
					t.Fatal("got no error, want the configuration to be refused")
				}
				if i.settings.Load() != settings {
					break
				}
			}
			if err := i.keepSigning(t.Context()); err != nil {
				t.Errorf("got error %v after the refusal, want none", err)
			}
			if after, err := i.store.SigningKeys(); err != nil || string(after) != string(before) {
				t.Errorf("got other signing keys in the store after the refusal (%v), want those before", err)
			}
			if err := load(running); err != nil {
				t.Errorf("got error %v for the running configuration, want none", err)
			}
		})
	}
}
