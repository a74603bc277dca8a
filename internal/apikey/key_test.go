package apikey

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"
)

var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// at returns an instant by its minutes after the epoch of these tests.
func at(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }

func TestKey_Status(t *testing.T) {
	const tick = time.Nanosecond
	var (
		plain     = Key{ExpiresAt: at(10)}
		byHand    = Key{ExpiresAt: at(10), RevokedAt: at(5)}
		late      = Key{ExpiresAt: at(10), RevokedAt: at(20)}
		scheduled = Key{ExpiresAt: at(10), RevokesAt: at(5)}
		tooLate   = Key{ExpiresAt: at(10), RevokesAt: at(20)}
		together  = Key{ExpiresAt: at(10), RevokesAt: at(10)}
		earlier   = Key{ExpiresAt: at(10), RevokesAt: at(5), RevokedAt: at(3)}
		endless   = Key{}
	)
	cases := []struct {
		name  string
		key   Key
		now   time.Time
		want  Status
		ended time.Time
	}{
		{"new", plain, at(0), Active, time.Time{}},
		{"an instant before it expires", plain, at(10).Add(-tick), Active, time.Time{}},
		{"expires now", plain, at(10), Expired, time.Time{}},
		{"an instant after it expired", plain, at(10).Add(tick), Expired, time.Time{}},
		{"expires now, in another zone", plain, at(10).In(time.FixedZone("", 3600)), Expired, time.Time{}},

		{"revoked", byHand, at(5), Revoked, at(5)},
		{"revoked, and would have expired", byHand, at(10), Revoked, at(5)},
		{"revoked, and the clock set back", byHand, at(0), Revoked, at(5)},
		{"revoked after it expired", late, at(30), Revoked, at(20)},

		{"an instant before its scheduled revocation", scheduled, at(5).Add(-tick), Active, time.Time{}},
		{"revoked by schedule now", scheduled, at(5), Revoked, at(5)},
		{"revoked by schedule, and would have expired", scheduled, at(10), Revoked, at(5)},
		{"expired before its scheduled revocation", tooLate, at(10), Expired, time.Time{}},
		{"expired before its scheduled revocation, long ago", tooLate, at(30), Expired, time.Time{}},
		{"expires at its scheduled revocation", together, at(10), Expired, time.Time{}},
		{"revoked before its scheduled revocation", earlier, at(4), Revoked, at(3)},
		{"revoked before its scheduled revocation, later", earlier, at(6), Revoked, at(3)},

		{"no expiry is an expiry long ago", endless, at(0), Expired, time.Time{}},
	}
	for _, c := range cases {
		if got := c.key.Status(c.now); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
		if got := c.key.EffectiveRevokedAt(c.now); !got.Equal(c.ended) {
			t.Errorf("%s: got ended at %v, want %v", c.name, got, c.ended)
		}
	}
}

// A key that has ended never becomes active again as time passes.
func TestKey_Status_neverReturns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		instant := rapid.Custom(func(t *rapid.T) time.Time {
			if rapid.Bool().Draw(t, "never") {
				return time.Time{}
			}
			return at(rapid.IntRange(0, 20).Draw(t, "minutes"))
		})
		key := Key{
			ExpiresAt: instant.Draw(t, "ExpiresAt"),
			RevokesAt: instant.Draw(t, "RevokesAt"),
			RevokedAt: instant.Draw(t, "RevokedAt"),
		}
		granted := key.Grant()
		if got, want := granted.ActiveUntil(), key.ActiveUntil(); !got.Equal(want) {
			t.Fatalf("its grant is active until %v, want %v", got, want)
		}
		before := key.Status(at(0))
		for minute := 1; minute <= 21; minute++ {
			now := key.Status(at(minute))
			if got := granted.Status(at(minute)); got != now {
				t.Fatalf("its grant is %s at minute %d, want %s", got, minute, now)
			}
			if before != Active && now != before {
				t.Fatalf("%s at minute %d, %s before", now, minute, before)
			}
			if ended := !key.EffectiveRevokedAt(at(minute)).IsZero(); ended != (now == Revoked) {
				t.Fatalf("%s at minute %d, but ended: %t", now, minute, ended)
			}
			before = now
		}
		if before == Active {
			t.Fatal("active for ever")
		}
	})
}

func TestParsePreset(t *testing.T) {
	for s, abilities := range map[string][]string{"full_access": {"read", "write"}, "read_only": {"read"}} {
		p, err := ParsePreset(s)
		if err != nil || string(p) != s {
			t.Errorf("ParsePreset(%q) = %q, %v", s, p, err)
		}
		if got := p.Abilities(); !slices.Equal(got, abilities) {
			t.Errorf("%s: got abilities %v, want %v", s, got, abilities)
		}
	}
	for _, s := range []string{"", "Full_Access", "read-only", " read_only", "write", "admin", "full_access\x00"} {
		if p, err := ParsePreset(s); !errors.Is(err, ErrInvalidPreset) || p != "" {
			t.Errorf("ParsePreset(%q) = %q, %v, want %v", s, p, err, ErrInvalidPreset)
		}
	}
	if got := Preset("unheard_of").Abilities(); !slices.Equal(got, []string{"read"}) {
		t.Errorf("an unknown preset may %v, want no more than read", got)
	}
}

func TestWorkspace_Suspended(t *testing.T) {
	if (Workspace{ID: "acme"}).Suspended() {
		t.Error("a workspace without a time of suspension is suspended")
	}
	if !(Workspace{ID: "acme", SuspendedAt: at(0)}).Suspended() {
		t.Error("a workspace with a time of suspension is not suspended")
	}
}

func TestNewKeyID_sortsByCreation(t *testing.T) {
	forgetIDs(t)
	last := ""
	for i, now := range []time.Time{
		at(0), at(0), at(0), at(1), at(1).Add(time.Microsecond), // the same millisecond
		at(-60), at(-59), // the clock is set back
		at(1), at(2),
		time.UnixMilli(0), time.UnixMilli(-1), {}, // a machine without a clock
		at(3),
	} {
		id := NewKeyID(now)
		if id <= last {
			t.Errorf("id %d, made at %v: %s does not sort after %s", i, now, id, last)
		}
		if !ValidKeyID(id) {
			t.Errorf("ValidKeyID(%q) = false for a new id", id)
		}
		last = id
	}
	if got, want := ulid.Time(ulid.MustParse(last[len("key_"):]).Time()), at(3); !got.Equal(want) {
		t.Errorf("the last id is of %v, want %v", got, want)
	}
}

func TestNewKeyID_concurrent(t *testing.T) {
	forgetIDs(t)
	const writers, each = 8, 500
	ids := make([][]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range each {
				ids[w] = append(ids[w], NewKeyID(at(w)), NewEventID(at(-w)))
			}
		})
	}
	wg.Wait()
	seen := make(map[string]bool)
	for _, mine := range ids {
		last := ""
		for _, id := range mine {
			if id[4:] <= last {
				t.Fatalf("%s does not sort after %s, made before it", id[4:], last)
			}
			if seen[id[4:]] {
				t.Fatalf("%s was made twice", id)
			}
			seen[id[4:]] = true
			last = id[4:]
		}
	}
	if got, want := len(seen), writers*each*2; got != want {
		t.Errorf("got %d ids, want %d", got, want)
	}
}

// forgetIDs lets a test begin at its own epoch, independently of earlier tests.
func forgetIDs(t *testing.T) {
	t.Helper()
	ulids.Lock()
	defer ulids.Unlock()
	ulids.last = 0
}

func TestValidKeyID(t *testing.T) {
	const id = "01JD0000000000000000000000"
	for _, s := range []string{NewKeyID(epoch), "key_" + id, "key_00000000000000000000000000", "key_7ZZZZZZZZZZZZZZZZZZZZZZZZZ"} {
		if !ValidKeyID(s) {
			t.Errorf("ValidKeyID(%q) = false, want true", s)
		}
	}
	for _, s := range []string{
		"", "key_", id, "evt_" + id, "KEY_" + id, "key-" + id, "key_" + strings.ToLower(id),
		"key_" + id[1:], "key_" + id + "0", " key_" + id, "key_" + id + "\n",
		"key_8ZZZZZZZZZZZZZZZZZZZZZZZZZ", // more than 128 bits
		"key_01JD000000000000000000000U", "key_01JD000000000000000000000I", "key_01JD00000000000000000000-0",
		"key_../../../../../etc/passwd0", "key_" + strings.Repeat("é", 13),
	} {
		if ValidKeyID(s) {
			t.Errorf("ValidKeyID(%q) = true, want false", s)
		}
	}
	if event := NewEventID(epoch); !ValidEventID(event) || ValidKeyID(event) {
		t.Errorf("%q is to be an event's id, and no key's", event)
	}
	if ValidEventID(NewKeyID(epoch)) {
		t.Error("a key's id is taken for an event's")
	}
}

func TestError_Is(t *testing.T) {
	refusal := fmt.Errorf("creating a key: %w", ErrInvalidName.because("A name cannot contain this."))
	if !errors.Is(refusal, ErrInvalidName) {
		t.Error("a refusal with another sentence is not the same refusal")
	}
	if errors.Is(refusal, ErrVagueName) || errors.Is(refusal, errors.New("A name cannot contain this.")) {
		t.Error("refusals with other codes are the same refusal")
	}
	if got, want := errors.Unwrap(refusal).Error(), "A name cannot contain this."; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestChange_operations(t *testing.T) {
	for want, action := range map[Operation]Action{
		"create": Create{}, "revoke": Revoke{}, "suspend": Suspend{}, "resume": Resume{},
	} {
		if got := action.Operation(); got != want {
			t.Errorf("%T is %q, want %q", action, got, want)
		}
	}
}

func TestKey_activeUntil(t *testing.T) {
	expiry := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct{ revokes, want time.Time }{
		{time.Time{}, expiry},
		{expiry.Add(-time.Millisecond), expiry.Add(-time.Millisecond)},
		{expiry, expiry},
		{expiry.Add(time.Hour), expiry},
	} {
		key := Key{ExpiresAt: expiry, RevokesAt: c.revokes}
		if got := key.ActiveUntil(); !got.Equal(c.want) {
			t.Errorf("revoked at %v: got %v, want %v", c.revokes, got, c.want)
		}
		if before, at := key.Status(c.want.Add(-time.Millisecond)), key.Status(c.want); before != Active || at == Active {
			t.Errorf("revoked at %v: got %s before %v and %s then, want it active until then", c.revokes, before, c.want, at)
		}
	}
}

// A grant has the ids and the name of its key, and refuses lengths that they do not have.
func TestGrant_names(t *testing.T) {
	key := Key{ID: "key_1", WorkspaceID: "acme", Name: "Zapier"}
	g := key.Grant()
	for _, wrong := range [][2]int{{-1, 1}, {1, -1}, {12, 4}, {16, 0}, {0, 16}, {1 << 16, 0}} {
		if g.SetNames("key_1acmeZapier", wrong[0], wrong[1]) {
			t.Errorf("ids of %d and %d bytes were accepted", wrong[0], wrong[1])
		}
	}
	if g.ID() != key.ID || g.WorkspaceID() != key.WorkspaceID || g.Name() != key.Name {
		t.Errorf("got %q, %q and %q, want those of %+v", g.ID(), g.WorkspaceID(), g.Name(), key)
	}
	if long := strings.Repeat("k", 1<<16); g.SetNames(long, len(long), 0) {
		t.Error("an id of 64 KiB was accepted")
	}
}
