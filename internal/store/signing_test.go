package store

import (
	"errors"
	"math"
	"path/filepath"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const someSigningKeys = `{"keys":["some"]}`

func renewSigningKeys(t *testing.T, s *Store, record string) {
	t.Helper()
	if err := s.RenewSigningKeys(t.Context(), start, func([]byte) ([]byte, error) { return []byte(record), nil }); err != nil {
		t.Fatalf("RenewSigningKeys: got error %v, want none", err)
	}
}

func wantSigningKeys(t *testing.T, s *Store, want string) {
	t.Helper()
	got, err := s.SigningKeys()
	if err != nil || string(got) != want {
		t.Errorf("got the signing keys %q, %v; want %q", got, err, want)
	}
}

// Signing keys are replaced as a whole, outlast the loss of the store's files, are in no
// backup, and leave no event.
func TestSigningKeys(t *testing.T) {
	told := 0
	s := open(t, filepath.Join(t.TempDir(), "keys"), func(o apikey.Outcome) {
		if o.SigningKeys {
			told++
		}
	})
	wantSigningKeys(t, s, "")
	renewSigningKeys(t, s, someSigningKeys)
	wantSigningKeys(t, s, someSigningKeys)
	refusal := errors.New("not now")
	for _, renew := range []func([]byte) ([]byte, error){
		func([]byte) ([]byte, error) { return nil, nil },
		func([]byte) ([]byte, error) { return []byte("{}"), refusal },
	} {
		if err := s.RenewSigningKeys(t.Context(), start, renew); err != nil && !errors.Is(err, refusal) {
			t.Errorf("got error %v, want none, or that of the function", err)
		}
		wantSigningKeys(t, s, someSigningKeys)
	}
	if told == 0 {
		t.Error("nobody was told that the signing keys have changed")
	}
	equal(t, "events", len(allEvents(t, s, "")), 0)
	soundRecords(t, s)
	other := openNew(t)
	renewSigningKeys(t, other, `{"keys":["others"]}`)
	mustRestore(t, other, mustBackup(t, s, start), start)
	wantSigningKeys(t, other, `{"keys":["others"]}`)
	wantSigningKeys(t, builtAnew(t, s), someSigningKeys)
}

// The gateways of a fleet have the same signing keys, and hear of others.
func TestSigningKeys_fleet(t *testing.T) {
	told := make([]int, 2)
	log := newFleet(t, t.TempDir(), 2, func(i int, o apikey.Outcome) {
		if o.SigningKeys {
			told[i]++
		}
	})
	t.Cleanup(func() {
		for _, s := range log.replicas {
			closeStore(t, s)
		}
	})
	before := log.remember(t)
	renewSigningKeys(t, log.replicas[0], someSigningKeys)
	for i, s := range log.replicas {
		wantSigningKeys(t, s, someSigningKeys)
		if told[i] == 0 {
			t.Errorf("gateway %d was not told that the signing keys have changed", i)
		}
	}
	late := log.join(t, filepath.Join(t.TempDir(), "keys"), nil)
	wantSigningKeys(t, late, someSigningKeys)

	// Those that etcd has lost are not put back: the fleet makes new ones.
	s := log.replicas[0]
	equal(t, "lost records", before.compare(t, s, math.MaxInt), 0)
	before.log.entries = nil
	mustReload(t, s, before.then, before.at)
	wantSigningKeys(t, s, "")
}

// A store that is moved into a fleet, or out of one, leaves its signing keys behind.
func TestSigningKeys_moved(t *testing.T) {
	s := openNew(t)
	renewSigningKeys(t, s, someSigningKeys)
	closeStore(t, s)
	moved, err := OpenToMove(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeStore(t, moved) })
	if err := moved.SetMembership(t.Context(), apikey.Membership{}); err != nil {
		t.Fatal(err)
	}
	wantSigningKeys(t, moved, "")
	equal(t, "records", len(recordsOf(t, moved)), 0)
}
