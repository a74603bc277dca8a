package assertion

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/agiled/caddy-api-keys/identity"
)

func decodePart(part string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(part) }

var (
	someSecret  = NewSecret([32]byte{1})
	otherSecret = NewSecret([32]byte{2})
	start       = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
)

func renew(t testing.TB, record []byte, s Schedule, secrets Secrets) ([]byte, Renewed) {
	t.Helper()
	renewed, done, err := Renew(record, s, secrets)
	if err != nil {
		t.Fatalf("Renew: got error %v, want none", err)
	}
	return renewed, done
}

func steady(now time.Time) Schedule { return Schedule{Every: 30 * day, Now: now, Steady: true} }

// publicIDs returns the ids of the keys that a ring publishes.
func publicIDs(t testing.TB, r *Ring) (ids []string) {
	t.Helper()
	set, _ := r.PublicKeys()
	var parsed jose.JSONWebKeySet
	if err := json.Unmarshal(set, &parsed); err != nil {
		t.Fatal(err)
	}
	for _, key := range parsed.Keys {
		if _, public := key.Key.(ed25519.PublicKey); !public || key.Algorithm != "EdDSA" || key.Use != "sig" {
			t.Errorf("got the published key %+v, want a public one for signing with EdDSA", key)
		}
		ids = append(ids, key.KeyID)
	}
	return ids
}

// A life of keys: made, announced, in use, published for a while, gone.
func TestRenew_life(t *testing.T) {
	record, done := renew(t, nil, steady(start), nil)
	first := open(t, record, nil)
	if !done.Made || done.Signs != first.id || len(publicIDs(t, first)) != 2 {
		t.Fatalf("got %+v with the public keys %v, want two keys, made now", done, publicIDs(t, first))
	}
	announced := slices.DeleteFunc(publicIDs(t, first), func(id string) bool { return id == first.id })[0]
	for _, early := range []Schedule{steady(start.Add(30*day - 1)), {Every: 30 * day, Now: start.Add(90 * day)}, steady(start.Add(-400 * day))} {
		if renewed, done := renew(t, record, early, nil); early.Now.After(start) && renewed != nil {
			t.Errorf("%+v: got %+v, want nothing changed", early, done)
		}
	}
	record, done = renew(t, record, steady(start.Add(30*day)), nil)
	second := open(t, record, nil)
	if !done.Rotated || second.id != announced || !slices.Contains(publicIDs(t, second), first.id) || len(publicIDs(t, second)) != 3 {
		t.Fatalf("got %+v, signed by %s, with the public keys %v; want the announced key to sign, and the first still published", done, second.id, publicIDs(t, second))
	}
	if strings.Count(string(record), `"seed"`) != 2 {
		t.Error("got the secret of a key that signs no more, want it deleted")
	}
	if renewed, done := renew(t, record, steady(start.Add(30*day+forgetAfter-1)), nil); renewed != nil {
		t.Errorf("got %+v, want nothing changed before the former key may go", done)
	}
	record, done = renew(t, record, steady(start.Add(30*day+forgetAfter)), nil)
	if third := open(t, record, nil); done.Forgotten != 1 || slices.Contains(publicIDs(t, third), first.id) || third.id != second.id {
		t.Errorf("got %+v, want the former key removed, and nothing else", done)
	}
}

// However often keys are rotated, one is announced before it signs: that the time between
// two rotations was shortened is no exception.
func TestRenew_shortened(t *testing.T) {
	record, _ := renew(t, nil, steady(start), nil)
	at := start.Add(10 * day)
	short := Schedule{Every: time.Hour, Now: at, Steady: true}
	record, done := renew(t, record, short, nil)
	if !done.Rotated {
		t.Fatal("got no rotation, want one: the next key was announced long ago")
	}
	short.Now = at.Add(time.Hour - 1)
	if renewed, done := renew(t, record, short, nil); renewed != nil {
		t.Errorf("got %+v, want the next key announced for an hour", done)
	}
}

// Rotated every minute, all keys are replaced within minutes, as the documentation says for
// those that were disclosed.
func TestRenew_disclosed(t *testing.T) {
	record, _ := renew(t, nil, steady(start), nil)
	disclosed := publicIDs(t, open(t, record, nil))
	now := start.Add(3 * day)
	for range 6 {
		if renewed, _ := renew(t, record, Schedule{Every: time.Minute, Now: now, Steady: true}, nil); renewed != nil {
			record = renewed
		}
		now = now.Add(time.Minute)
	}
	for _, id := range publicIDs(t, open(t, record, nil)) {
		if slices.Contains(disclosed, id) {
			t.Errorf("the key %s is still published after 5 minutes", id)
		}
	}
}

// Times that a clock has recorded that was ahead count from when that is seen. One that has
// been set back changes nothing.
func TestRenew_clockAhead(t *testing.T) {
	record, _ := renew(t, nil, steady(start.Add(365*day)), nil)
	ids := publicIDs(t, open(t, record, nil))
	record, done := renew(t, record, steady(start), nil)
	if !done.Dated || done.Rotated || !slices.Equal(publicIDs(t, open(t, record, nil)), ids) {
		t.Fatalf("got %+v, want the times corrected and the keys as they were", done)
	}
	if _, done = renew(t, record, steady(start.Add(30*day)), nil); !done.Rotated {
		t.Errorf("got %+v, want the keys rotated 30 days later", done)
	}
}

func TestRenew_encryption(t *testing.T) {
	plain, _ := renew(t, nil, steady(start), nil)
	encrypt := Schedule{Every: 30 * day, Now: start, Encrypt: true}
	encrypted, done := renew(t, plain, encrypt, Secrets{someSecret})
	if !done.Encrypted || strings.Contains(string(encrypted), `"seed"`) {
		t.Fatalf("got %+v, want all seeds encrypted", done)
	}
	want := open(t, plain, nil)
	if got := open(t, encrypted, Secrets{otherSecret, someSecret}); got.id != want.id || !bytes.Equal(got.set, want.set) {
		t.Error("got other keys, want the same, encrypted")
	}
	if renewed, _ := renew(t, encrypted, encrypt, Secrets{someSecret}); renewed != nil {
		t.Error("got seeds encrypted again that were encrypted already")
	}
	if renewed, _ := renew(t, encrypted, steady(start), Secrets{otherSecret, someSecret}); renewed != nil {
		t.Error("got seeds encrypted with another secret, which was not asked for")
	}
	again, _ := renew(t, encrypted, encrypt, Secrets{otherSecret, someSecret})
	open(t, again, Secrets{otherSecret})
	for name, secrets := range map[string]Secrets{"no secret": nil, "another": {someSecret}} {
		if _, err := Open(again, secrets); !errors.Is(err, ErrSecret) {
			t.Errorf("%s: got error %v, want ErrSecret", name, err)
		}
		if _, _, err := Renew(again, encrypt, secrets); !errors.Is(err, ErrSecret) && len(secrets) > 0 {
			t.Errorf("%s: got error %v, want ErrSecret", name, err)
		}
	}
	// A seed is bound to its key.
	var r record
	if err := json.Unmarshal(again, &r); err != nil {
		t.Fatal(err)
	}
	r.Keys[0].EncryptedSeed, r.Keys[1].EncryptedSeed = r.Keys[1].EncryptedSeed, r.Keys[0].EncryptedSeed
	swapped, _ := json.Marshal(r)
	if _, err := Open(swapped, Secrets{otherSecret}); err == nil {
		t.Error("got no error for the seeds of other keys, want one")
	}
}

func TestOpen_damaged(t *testing.T) {
	good, _ := renew(t, nil, steady(start), nil)
	for name, damage := range map[string]func(r *record){
		"no keys":          func(r *record) { r.Keys = nil },
		"no current key":   func(r *record) { r.Keys[0].State = previous },
		"another state":    func(r *record) { r.Keys[0].State = "x" },
		"no id":            func(r *record) { r.Keys[0].ID = "" },
		"a short key":      func(r *record) { r.Keys[0].Public = r.Keys[0].Public[:31] },
		"another public":   func(r *record) { r.Keys[0].Public = r.Keys[1].Public },
		"no seed":          func(r *record) { r.Keys[1].Seed = nil },
		"a seed too short": func(r *record) { r.Keys[1].Seed = r.Keys[1].Seed[:16] },
	} {
		var r record
		if err := json.Unmarshal(good, &r); err != nil {
			t.Fatal(err)
		}
		damage(&r)
		bad, _ := json.Marshal(r)
		if _, err := Open(bad, nil); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
	if _, err := Open([]byte("{"), nil); !errors.Is(err, errDamaged) {
		t.Errorf("got error %v, want one saying that the record is damaged", err)
	}
}

// No secret is in what is printed.
func TestSecrets_redacted(t *testing.T) {
	plain, _ := renew(t, nil, steady(start), nil)
	r, err := decode(plain)
	if err != nil {
		t.Fatal(err)
	}
	ring := open(t, plain, nil)
	s := new(Signer)
	s.Use(ring)
	seed := r.Keys[0].Seed
	secret := someSecret.key[:]
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d", "%q"} {
		for _, value := range []any{ring, *ring, r.Keys[0], &r.Keys[0], r.Keys, r, someSecret, Secrets{someSecret}, s} {
			printed := fmt.Sprintf(verb, value)
			for _, hidden := range [][]byte{seed, secret} {
				for _, form := range []string{string(hidden), hex.EncodeToString(hidden), base64.StdEncoding.EncodeToString(hidden), strings.Trim(fmt.Sprint(hidden), "[]"), fmt.Sprintf("%#v", hidden)} {
					if strings.Contains(printed, form) {
						t.Errorf("%s of %T contains a secret", verb, value)
					}
				}
			}
		}
	}
	if text, err := json.Marshal(map[string]any{"secret": someSecret, "ring": ring}); err != nil || strings.Contains(string(text), base64.StdEncoding.EncodeToString(secret)) {
		t.Errorf("got %s, %v; want no secret", text, err)
	}
}

// At any time, every assertion that has not expired verifies with every set of public keys
// that a cache may hold, whichever gateways have signed the one and served the other. The
// gateways know of a change after a while each, and static ones sign without their fleet
// for up to a day.
func TestRenew_alwaysVerifies(t *testing.T) {
	for seed := range uint64(10) {
		random := rand.New(rand.NewPCG(seed, 0))
		every := []time.Duration{time.Minute, time.Hour, 12 * time.Hour, 2 * day, 30 * day}[random.IntN(5)]
		cutOff := min(day, every/2) // static gateways, and strict ones in miniature
		lag := min(15*time.Second, every/8)
		now := start
		record, _ := renew(t, nil, steady(now), nil)
		history := []version{versionOf(t, now, record)}
		for range 150 {
			now = now.Add(time.Duration(random.Int64N(int64(every) / 3)))
			renewed, _ := renew(t, record, Schedule{Every: every, Now: now, Steady: true}, nil)
			if renewed != nil {
				record = renewed
				history = append(history, versionOf(t, now, record))
			}
			// Someone signs with what was current until the cut-off, and someone verifies
			// with what was served by a lagging gateway, and cached since.
			signs := at(history, now.Add(-time.Duration(random.Int64N(int64(cutOff)))))
			serves := at(history, now.Add(-time.Duration(random.Int64N(int64(MaxAge(every)+lag)))))
			used := now.Add(time.Duration(random.Int64N(int64(identity.MaxLifetime)))) // by then, the set may also be newer
			for _, v := range []version{serves, at(history, used)} {
				if !slices.Contains(v.ids, signs.signs) {
					t.Fatalf("seed %d, every %v: an assertion by %s does not verify with the public keys %v", seed, every, signs.signs, v.ids)
				}
			}
		}
	}
}

// version is what the keys were from a time on.
type version struct {
	from  time.Time
	signs string
	ids   []string // of the public keys
}

func versionOf(t testing.TB, from time.Time, record []byte) version {
	t.Helper()
	ring := open(t, record, nil)
	return version{from, ring.id, publicIDs(t, ring)}
}

func at(history []version, when time.Time) version {
	for _, v := range slices.Backward(history) {
		if !v.from.After(when) {
			return v
		}
	}
	return history[0]
}

func TestParseSecret(t *testing.T) {
	for digits, ok := range map[string]bool{strings.Repeat("a1", 32): true, strings.Repeat("a1", 31): false, strings.Repeat("a1", 33): false, "": false, strings.Repeat("xy", 32): false} {
		_, err := ParseSecret(digits)
		if (err == nil) != ok || err != nil && digits != "" && strings.Contains(err.Error(), digits) {
			t.Errorf("%d digits: got error %v, want one: %t, without the digits", len(digits), err, !ok)
		}
	}
}
