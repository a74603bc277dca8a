package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// openReplica opens a replica that follows no log, and closes it when the test ends.
func openReplica(t *testing.T, path string, onChange func(apikey.Outcome)) *Store {
	t.Helper()
	s, err := OpenReplica(path, fleetPrefix, zap.NewNop(), onChange)
	if err != nil {
		t.Fatalf("OpenReplica: got error %v, want a replica", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// Two truths would bring revoked keys back: a directory belongs to one fleet or to none.
func TestOpenReplica_directories(t *testing.T) {
	dir := t.TempDir()
	plain := func(name string, do ...apikey.Action) string {
		s := open(t, filepath.Join(dir, name), nil)
		for _, do := range do {
			mustApply(t, s, start, do)
		}
		closeStore(t, s)
		return s.Path()
	}
	keys := plain("keys", apikey.Create{Key: newKey("acme", "Zapier", start)})
	suspension := plain("suspension", apikey.Suspend{WorkspaceID: "acme"})
	unused := plain("unused")
	closeStore(t, openReplica(t, filepath.Join(dir, "replica"), nil))
	closeStore(t, openReplica(t, unused, nil))

	asReplica := func(prefix string) func(string) (*Store, error) {
		return func(path string) (*Store, error) { return OpenReplica(path, prefix, zap.NewNop(), nil) }
	}
	asPlain := func(path string) (*Store, error) { return Open(path, zap.NewNop(), nil) }
	for _, test := range []struct {
		name, path string
		open       func(string) (*Store, error)
		want       string // of the error
	}{
		{"a store with keys, as a replica", keys, asReplica(fleetPrefix), "it is a store of its own"},
		{"a store with a suspension, as a replica", suspension, asReplica(fleetPrefix), "it is a store of its own"},
		{"another fleet's replica", filepath.Join(dir, "replica"), asReplica("/other/"), "it is a replica of the fleet with the prefix /api-keys/, and the configuration says /other/"},
		{"a replica, as a store of its own", filepath.Join(dir, "replica"), asPlain, "it is the replica of a fleet: write store etcd with prefix /api-keys/"},
		{"a replica that was an unused store, as a store of its own", unused, asPlain, "it is the replica of a fleet"},
		{"a replica", filepath.Join(dir, "replica"), asReplica(fleetPrefix), ""},
		{"a store of its own", keys, asPlain, ""},
	} {
		s, err := test.open(test.path)
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: got error %v, want a store", test.name, err)
		case test.want == "":
			closeStore(t, s)
		case err == nil:
			closeStore(t, s)
			t.Errorf("%s: got a store, want an error", test.name)
		case !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.path):
			t.Errorf("%s: got error %v, want %q and the path", test.name, err, test.want)
		}
	}
}

// A replica changes nothing by itself.
func TestReplica_alone(t *testing.T) {
	var told []apikey.Outcome
	s := openReplica(t, filepath.Join(t.TempDir(), "keys"), func(o apikey.Outcome) { told = append(told, o) })
	mustReload(t, s, nil, apikey.Position{Head: apikey.Head{Fleet: "fleet"}})
	before := contents(t, s)
	_, err := s.Apply(t.Context(), changeAt(start, apikey.Suspend{WorkspaceID: "acme"}))
	isUnavailable(t, "a change without a log", err)
	_, err = s.ForgetFeeds(t.Context(), start, start)
	isUnavailable(t, "a deletion without a log", err)
	_, err = restoreAt(t, s, mustBackup(t, livedStore(t), start), start, apikey.Restore{})
	isUnavailable(t, "a restore without a log", err)
	err = behind(s, func(txn *transaction) error {
		return putSuspension(txn, apikey.Workspace{ID: "acme", SuspendedAt: start})
	})
	if err == nil || !strings.Contains(err.Error(), "1 records of a replica would be changed without its fleet") {
		t.Errorf("a record that does not come from the fleet: got error %v, want a refusal", err)
	}
	after := contents(t, s)
	delete(after, string(restoringKey))
	equal(t, "the replica", after, before)
	equal(t, "told", len(told), 0)
}

func TestReplica_contact(t *testing.T) {
	log := openFleet(t, 1)
	mustCreate(t, log.replicas[0], "acme", "Zapier", start)
	want := apikey.Contact{At: start.Add(time.Hour), Registrations: []string{"A", "B"}, Holder: "gw1"}
	if err := log.replicas[0].NoteContact(t.Context(), want); err != nil {
		t.Fatalf("NoteContact: got error %v, want none", err)
	}
	mustCreate(t, log.replicas[0], "acme", "Billing", start)
	if err := log.replicas[0].NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: start} }); err != nil {
		t.Fatal(err)
	}
	s := log.reopen(t, 0)
	at, complete, err := s.Position()
	equal(t, "position, complete, error", []any{at, complete, err}, []any{log.head(), true, nil})
	contact, confirmed, err := s.Contact()
	equal(t, "contact, confirmed time, error", []any{contact, confirmed, err}, []any{want, start, nil})
}

// Once the log is full, what takes access away or frees space is done, and nothing else.
func TestReplica_full(t *testing.T) {
	log := openFleet(t, 1)
	s := log.replicas[0]
	key := mustCreate(t, s, "acme", "Zapier", start)
	backup := mustBackup(t, livedStore(t), start)
	log.full = true
	for name, do := range map[string]apikey.Action{
		"create": apikey.Create{Key: newKey("acme", "Billing", start)}, "resume": apikey.Resume{WorkspaceID: "acme"},
	} {
		if _, err := s.Apply(t.Context(), changeAt(start, do)); !errors.Is(err, apikey.ErrNoSpace) {
			t.Errorf("%s: got error %v, want %v", name, err, apikey.ErrNoSpace)
		}
	}
	if _, err := restoreAt(t, s, backup, start, apikey.Restore{}); !errors.Is(err, apikey.ErrNoSpace) {
		t.Errorf("restore: got error %v, want %v", err, apikey.ErrNoSpace)
	}
	mustApply(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "acme"})
	if err := s.NoteClock(func() apikey.ClockNote { return apikey.ClockNote{Confirmed: start.Add(2 * time.Hour)} }); err != nil {
		t.Fatal(err)
	}
	n, err := s.ForgetEvents(t.Context(), start.Add(time.Hour), start.Add(time.Hour))
	equal(t, "forgotten events, error", []any{n > 0, err}, []any{true, nil})
}

// What the fleet has confirmed is restored from a replica's journal, and so is how far
// the replica has followed it.
func TestReplica_builtAnew(t *testing.T) {
	log := openFleet(t, 2)
	history(t, log.replicas[0])
	s := log.replicas[1]
	closeStore(t, s)
	if err := os.Remove(filepath.Join(s.Path(), "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	s = log.reopen(t, 1)
	at, complete, err := s.Position()
	equal(t, "position, complete, error", []any{at, complete, err}, []any{log.head(), true, nil})
	sameRecords(t, "the replica", recordsOf(t, s), recordsOf(t, log.replicas[0]))
	mustApply(t, s, start, apikey.Resume{WorkspaceID: "unpaid"})
	sameRecords(t, "the replica after a change", recordsOf(t, s), recordsOf(t, log.replicas[0]))
}

// A replica that was being filled has to be refilled, even after a restart.
func TestReplica_incomplete(t *testing.T) {
	log := openFleet(t, 2)
	s := log.replicas[1]
	reload, err := s.BeginReload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	reload.Close()
	s = log.reopen(t, 1)
	_, complete, err := s.Position()
	equal(t, "complete, error", []any{complete, err}, []any{false, nil})
	_, err = s.Plan(changesAtStart(apikey.Suspend{WorkspaceID: "acme"}), 10)
	isUnavailable(t, "Plan", err)
	err = s.Replay(t.Context(), apikey.Position{}, log.head(), nil)
	if err == nil || errors.Is(err, ErrGap) {
		t.Errorf("Replay: got error %v, want one saying that the replica is incomplete", err)
	}
	mustReload(t, s, recordsOf(t, log.replicas[0]), log.head())
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "acme"})
}

// A replica without its journal is not made do with: its fleet has everything.
func TestOpenReplica_withoutJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "replica")
	closeStore(t, openReplica(t, path, nil))
	if err := os.RemoveAll(filepath.Join(path, "journal")); err != nil {
		t.Fatal(err)
	}
	_, err := OpenReplica(path, fleetPrefix, zap.NewNop(), nil)
	const want = "Recover the journal's original files, or move the whole directory away, and start again: a replica is filled from its fleet"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got error %v, want one that ends with %q", err, want)
	}
}
