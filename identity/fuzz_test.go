package identity_test

import (
	"errors"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
)

// FuzzVerify holds that no token passes but those that the gateway has made: a token has
// one spelling, so none is a variation of another.
func FuzzVerify(f *testing.F) {
	made := make(map[string]bool)
	for _, c := range tokenCases() {
		if len(c.Token) < 2000 {
			f.Add(c.Token)
		}
		if c.Refused == "" {
			made[c.Token] = true
		}
	}
	v := serveKeys(f, bothKeys()).verifier(f)
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := v.Verify(t.Context(), token)
		switch {
		case err == nil && !made[token]:
			t.Errorf("passed as %+v, but the gateway has not made it", claims)
		case err != nil && claims != identity.Claims{}:
			t.Errorf("got %+v with the error %v", claims, err)
		case err != nil && !errors.Is(err, identity.ErrRefused):
			t.Errorf("got the error %v, want an ErrRefused", err)
		}
	})
}

// FuzzParseKeys holds that what is read as a key is one, with an id that can be used.
func FuzzParseKeys(f *testing.F) {
	for _, c := range setCases() {
		f.Add([]byte(c.Set))
	}
	f.Fuzz(func(t *testing.T, set []byte) {
		keys, err := identity.ParseKeys(set)
		if err != nil && keys != nil {
			t.Errorf("got keys with the error %v", err)
		}
		for id, key := range keys {
			if id == "" || len(key) != 32 {
				t.Errorf("got the key %x with the id %q", key, id)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	v := serveKeys(b, bothKeys()).verifier(b)
	token := token(bind("GET", "/public/v1/contacts"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

// What is not an assertion costs no signature check.
func BenchmarkVerify_refused(b *testing.B) {
	v := serveKeys(b, bothKeys()).verifier(b)
	token := withHeader("kid", `"invented"`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), token); err == nil {
			b.Fatal("got no error")
		}
	}
}
