package assertion

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// The states of a signing key, in their order. All of them are published.
const (
	next     = "next"     // will sign when the current one has signed for long enough
	current  = "current"  // signs
	previous = "previous" // has signed, and never will again: its secret is gone
)

// record is the signing keys of a gateway or a fleet, as they are stored.
type record struct {
	Keys []storedKey `json:"keys"`
}

// storedKey is a signing key. Its seed is either encrypted or not.
type storedKey struct {
	ID            string            `json:"kid"`
	State         string            `json:"state"`
	Since         int64             `json:"since"` // in this state, in milliseconds since 1970
	Public        ed25519.PublicKey `json:"public"`
	Seed          []byte            `json:"seed,omitempty"`
	EncryptedSeed []byte            `json:"encrypted_seed,omitempty"`
}

// Format never reveals the seed, whatever the verb.
func (k storedKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, k.State+" signing key "+k.ID)
}

var errDamaged = errors.New("the record of the signing keys is damaged")

// decode reads a record, which must be one that Renew has made. Its error does not contain
// any of it.
func decode(recorded []byte) (r record, err error) {
	if json.Unmarshal(recorded, &r) != nil || len(r.Keys) == 0 {
		return r, errDamaged
	}
	for _, key := range r.Keys {
		known := key.State == next || key.State == current || key.State == previous
		if !known || key.ID == "" || len(key.Public) != ed25519.PublicKeySize {
			return r, errDamaged
		}
	}
	return r, nil
}

func (r *record) find(state string) *storedKey {
	if at := slices.IndexFunc(r.Keys, func(k storedKey) bool { return k.State == state }); at >= 0 {
		return &r.Keys[at]
	}
	return nil
}

// Schedule is when signing keys are renewed.
type Schedule struct {
	// Every is how long a key signs, at least.
	Every time.Duration
	// Now is a time that has certainly passed.
	Now time.Time
	// Steady says that this gateway has known the keys as they are for as long as [Settle]
	// says. Until then, none is rotated or removed, whatever the clock says.
	Steady bool
	// Encrypt says that seeds are encrypted again that another secret than the first
	// encrypts, or none. The gateways of a fleet that change their secret do not do so at
	// the same moment.
	Encrypt bool
}

const (
	// forgetAfter is how long a key is published after it has signed. A gateway in static
	// mode signs without its fleet for up to a day.
	forgetAfter = 25 * time.Hour
	// announceFor is how long a key is published before it signs, at least.
	announceFor = 24 * time.Hour
	// maxMaxAge is how long caches may keep the public keys, at most.
	maxMaxAge = 5 * time.Minute
	// maxSettle is the longest that a gateway waits before it rotates keys again.
	maxSettle = time.Hour
	// ahead is how far in the future a key's time must be for the clock that has recorded it
	// to have been wrong.
	ahead = time.Hour
)

// MaxAge returns how long caches may keep the public keys of a gateway that rotates them
// so often: well below the time for which a new one is published before it signs.
func MaxAge(every time.Duration) time.Duration { return min(maxMaxAge, every/4) }

// Settle returns how long a gateway must have known the keys before it rotates them.
func Settle(every time.Duration) time.Duration { return min(maxSettle, every/2) }

// Renewed is what [Renew] has changed.
type Renewed struct {
	Made      bool   // there were no keys before
	Rotated   bool   // another key signs now
	Forgotten int    // keys that are not published any more
	Encrypted bool   // seeds have been encrypted, with another secret than before or for the first time
	Dated     bool   // a clock that was ahead had recorded times that are corrected now
	Signs     string // the id of the key that signs
}

func (r Renewed) anything() bool {
	return r.Made || r.Rotated || r.Forgotten > 0 || r.Encrypted || r.Dated
}

// Renew returns the record that takes the place of the recorded one, or nil if that one
// stays as it is. Without a recorded one, it makes the first keys. A key is published long
// before it signs, and long after; its secret is deleted when it has signed last. Secrets
// are encrypted with the first of the given ones, if there are any.
func Renew(recorded []byte, s Schedule, secrets Secrets) ([]byte, Renewed, error) {
	var done Renewed
	var r record
	if recorded == nil {
		done.Made = true
		if err := r.add(current, s.Now, secrets); err != nil {
			return nil, done, err
		}
		if err := r.add(next, s.Now, secrets); err != nil {
			return nil, done, err
		}
	} else {
		var err error
		if r, err = decode(recorded); err != nil {
			return nil, done, err
		}
		if err := r.renew(s, secrets, &done); err != nil {
			return nil, done, err
		}
	}
	done.Signs = r.find(current).ID
	if !done.anything() {
		return nil, done, nil
	}
	renewed, err := json.Marshal(r)
	return renewed, done, err
}

// add makes a key.
func (r *record) add(state string, now time.Time, secrets Secrets) error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	key := storedKey{State: state, Since: now.UnixMilli(), Public: public}
	if key.ID, err = idOf(public); err != nil {
		return fmt.Errorf("making a signing key: %w", err)
	}
	key.keep(private.Seed(), secrets)
	r.Keys = append(r.Keys, key)
	return nil
}

// renew does what is due.
func (r *record) renew(s Schedule, secrets Secrets, done *Renewed) (err error) {
	if r.find(current) == nil || r.find(next) == nil {
		return errDamaged
	}
	if s.Encrypt {
		if done.Encrypted, err = r.encrypt(secrets); err != nil {
			return err
		}
	}
	if !s.Steady {
		return nil
	}
	done.Dated = r.date(s.Now)
	kept := slices.DeleteFunc(slices.Clone(r.Keys), func(k storedKey) bool {
		return k.State == previous && k.age(s.Now) >= min(forgetAfter, 2*s.Every)
	})
	done.Forgotten = len(r.Keys) - len(kept)
	r.Keys = kept
	if r.find(current).age(s.Now) < s.Every || r.find(next).age(s.Now) < min(announceFor, s.Every) {
		return nil
	}
	return r.rotate(s.Now, secrets, done)
}

// encrypt encrypts the seeds with the first of the secrets, and reports whether that was
// necessary.
func (r *record) encrypt(secrets Secrets) (done bool, err error) {
	for i := range r.Keys {
		encrypted, err := r.Keys[i].encrypt(secrets)
		if err != nil {
			return done, err
		}
		done = done || encrypted
	}
	return done, nil
}

// date corrects times that a clock has recorded that was ahead: they count from now.
func (r *record) date(now time.Time) (corrected bool) {
	for i := range r.Keys {
		if r.Keys[i].age(now) < -ahead {
			r.Keys[i].Since, corrected = now.UnixMilli(), true
		}
	}
	return corrected
}

// age returns how long a key has been in its state.
func (k *storedKey) age(now time.Time) time.Duration { return now.Sub(time.UnixMilli(k.Since)) }

// rotate has the next key sign.
func (r *record) rotate(now time.Time, secrets Secrets, done *Renewed) error {
	signed, signs := r.find(current), r.find(next)
	signed.State, signed.Since, signed.Seed, signed.EncryptedSeed = previous, now.UnixMilli(), nil, nil
	signs.State, signs.Since = current, now.UnixMilli()
	done.Rotated = true
	return r.add(next, now, secrets)
}
