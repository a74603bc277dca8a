// Package assertion signs what the gateway tells its upstreams about the key of a request.
//
// An assertion is what package identity verifies. It is signed with one of the gateway's
// signing keys, which are kept together as one [Ring] and renewed by [Renew]. An assertion
// that names no request is reused for the key that it is about, for as long as it has half a
// minute to live, so that most requests cost no signature.
package assertion

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	// spare is how long a reused assertion has to live at least.
	spare = 30 * time.Second
	// maxHeld is how many assertions of one key are kept, for different terms.
	maxHeld = 4
)

// Terms are what assertions have in common, apart from the keys that they are about.
type Terms struct {
	Issuer, Audience string
	// Lifetime is how long an assertion is valid, at most [identity.MaxLifetime]. It is
	// valid no longer than the key that it is about.
	Lifetime time.Duration
}

// Slot keeps the assertions about one key that may be reused. The zero slot has none.
type Slot struct{ latest atomic.Pointer[minted] }

// minted is an assertion that may be reused, and never changes.
type minted struct {
	token     string
	terms     Terms
	signedBy  string // the id of the signing key
	from, end int64  // when it may be reused, in seconds since 1970; not at the end
	next      *minted
}

func (m *minted) reusable(now int64, by *Ring) bool {
	return m.from <= now && now < m.end && m.signedBy == by.id
}

// Signer makes assertions with the signing keys of a gateway. It is safe for concurrent
// use. The zero Signer has no keys.
type Signer struct {
	ring atomic.Pointer[Ring]

	mu   sync.Mutex
	held []*Slot // those that are not empty
}

// Use sets the signing keys.
func (s *Signer) Use(ring *Ring) { s.ring.Store(ring) }

// Ring returns the signing keys, or nil if there are none yet.
func (s *Signer) Ring() *Ring { return s.ring.Load() }

// Assertion returns an assertion about a key, which may be reused. The signer must have
// signing keys.
func (s *Signer) Assertion(terms *Terms, slot *Slot, key *apikey.Grant, at time.Time) string {
	ring, now := s.ring.Load(), at.Unix()
	for m := slot.latest.Load(); m != nil; m = m.next {
		if m.reusable(now, ring) && m.terms == *terms {
			return m.token
		}
	}
	claims := terms.claims(key, at)
	made := &minted{token: ring.sign(&claims), terms: *terms, signedBy: ring.id, from: claims.IssuedAt}
	made.end = claims.ExpiresAt
	if claims.ExpiresAt-claims.IssuedAt == int64(terms.Lifetime/time.Second) { // else another one would end with the key too
		made.end -= int64(spare / time.Second)
	}
	if made.end > now {
		s.hold(slot, made, now, ring)
	}
	return made.token
}

// Bound returns an assertion about a key that is for one request only. The path is escaped.
func (s *Signer) Bound(terms *Terms, key *apikey.Grant, at time.Time, method, path string) string {
	claims := terms.claims(key, at)
	claims.Method, claims.Path = method, path
	return s.ring.Load().sign(&claims)
}

// claims returns what to say about a key. Times are rounded down, so that the assertion
// does not outlive the key.
func (t *Terms) claims(key *apikey.Grant, at time.Time) identity.Claims {
	end := at.Truncate(time.Second).Add(t.Lifetime)
	if until := key.ActiveUntil(); until.Before(end) {
		end = until
	}
	return identity.Claims{
		Issuer: t.Issuer, Audience: t.Audience, IssuedAt: at.Unix(), ExpiresAt: end.Unix(),
		KeyID: key.ID(), WorkspaceID: key.WorkspaceID(), Access: string(key.Preset()),
	}
}

// hold keeps an assertion, with those for other terms that can still be reused.
func (s *Signer) hold(slot *Slot, made *minted, now int64, ring *Ring) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := slot.latest.Load()
	if before == nil {
		s.held = append(s.held, slot)
	}
	last, n := made, 1
	for m := before; m != nil && n < maxHeld; m = m.next {
		if m.reusable(now, ring) && m.terms != made.terms {
			other := *m
			other.next = nil
			last.next = &other
			last, n = &other, n+1
		}
	}
	slot.latest.Store(made)
}

// Sweep frees the assertions that cannot be reused. Call it from time to time.
func (s *Signer) Sweep(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kept []*Slot
	for _, slot := range s.held {
		m := slot.latest.Load()
		for m != nil && m.end <= at.Unix() {
			m = m.next
		}
		if m == nil {
			slot.latest.Store(nil)
		} else {
			kept = append(kept, slot)
		}
	}
	s.held = kept
}
