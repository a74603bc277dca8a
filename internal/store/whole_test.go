package store

import (
	"math"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// wantNotWhole takes a backup, and wants it to be refused because the replica is not whole.
func wantNotWhole(t *testing.T, when string, s *Store) {
	t.Helper()
	file, err := s.Backup(t.Context(), start)
	if err == nil {
		_ = file.Close()
	}
	if err != error(apikey.ErrFleetPartial) {
		t.Errorf("%s: got the error %v for a backup, want %v", when, err, apikey.ErrFleetPartial)
	}
}

// wantFilled wants a store to say whether it may be read for people.
func wantFilled(t *testing.T, when string, s *Store, want bool) {
	t.Helper()
	if got, err := s.Filled(); got != want || err != nil {
		t.Errorf("%s: got filled=%t %v, want %t", when, got, err, want)
	}
}

// A replica that has never been filled is not read for people, and makes no backup, which
// would lack keys. One that is being refilled is read, but makes no backup either: its records
// are of two moments.
func TestBackup_unfilled(t *testing.T) {
	log := openFleet(t, 1)
	history(t, log.replicas[0])
	all := recordsOf(t, log.replicas[0])
	s, err := OpenReplica(filepath.Join(t.TempDir(), "new"), fleetPrefix, zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	wantNotWhole(t, "an empty replica", s)
	wantFilled(t, "an empty replica", s, false)
	r, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Add(t.Context(), all[:len(all)/2]); err != nil {
		t.Fatal(err)
	}
	r.Close()
	wantNotWhole(t, "half a replica", s)
	wantFilled(t, "half a replica", s, false)
	mustReload(t, s, all, log.head())
	wantFilled(t, "a replica", s, true)
	mustBackup(t, s, start)
	if r, err = s.BeginReload(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNotWhole(t, "a replica that is being refilled", s)
	wantFilled(t, "a replica that is being refilled", s, true)
	r.Close()
	wantNotWhole(t, "a replica that was not refilled to the end", s)
	mustReload(t, s, all, log.head())
	mustBackup(t, s, start)
}

// Nor does one that has gone back with its fleet, before it has put back what it keeps: keys
// may be active in it that were revoked.
func TestBackup_goneBack(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	b, _ := lossyHistory(t, log)
	b.compare(t, s, math.MaxInt)
	mustBackup(t, s, start) // it has everything that it keeps
	log.entries = log.entries[:b.at.Seq]
	mustReload(t, s, b.then, b.at)
	wantNotWhole(t, "gone back", s)
	if err := s.PutBack(t.Context(), func(apikey.Outcome, int) {}); err != nil {
		t.Fatal(err)
	}
	mustBackup(t, s, start)
}
