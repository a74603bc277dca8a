package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// start is when the tests begin. They have no clock: each says what time it is.
var start = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

const (
	day  = 24 * time.Hour
	life = 90 * day // of a key, unless a test says otherwise
)

// TestMain also is the other process that some tests need: see child.
func TestMain(m *testing.M) {
	noteFrom = 1 // so that small stores too are opened as a stop has left them
	if role, path := testenv.ChildRole(); role != "" {
		os.Exit(child(role, path))
	}
	// Half of rapid's default: each check opens stores on the disk. The flag asks for more.
	if err := flag.Set("rapid.checks", "50"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// open opens a store and closes it when the test ends.
func open(t testing.TB, path string, onChange func(apikey.Outcome)) *Store {
	t.Helper()
	s, err := Open(path, zap.NewNop(), onChange)
	if err != nil {
		t.Fatalf("Open: got error %v, want a store", err)
	}
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

// openNew opens a store in a directory of its own.
func openNew(t testing.TB) *Store {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "keys"), nil)
}

// reopen closes a store and opens it again.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	closeStore(t, s)
	return open(t, s.Path(), s.onChange)
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: got error %v, want none", err)
	}
}

// newKey returns a key that nothing is wrong with.
func newKey(ws, name string, at time.Time) apikey.Key {
	token := apikey.NewToken(apikey.DefaultPrefix)
	return apikey.Key{
		ID: apikey.NewKeyID(at), WorkspaceID: ws, Name: name, Owner: "Ops", Preset: apikey.ReadOnly,
		Digest: token.Digest(), TokenHint: token.Hint(), CreatedAt: at, CreatedBy: "tester", ExpiresAt: at.Add(life),
	}
}

// imported returns a key with a token that was issued elsewhere.
func imported(token, ws, name string, at time.Time) apikey.Key {
	return apikey.Key{
		ID: apikey.NewKeyID(at), WorkspaceID: ws, Name: name, Preset: apikey.ReadOnly, Imported: true,
		Digest: digestOf(token), CreatedAt: at.AddDate(-1, 0, 0), CreatedBy: "tester", ExpiresAt: at.Add(life),
	}
}

// changeAt returns a change that the tester makes.
func changeAt(at time.Time, do apikey.Action) apikey.Change {
	return apikey.Change{EventID: apikey.NewEventID(at), At: at, Actor: "tester", RemoteIP: "192.0.2.1", Do: do}
}

// mustApply makes a change that must succeed.
func mustApply(t testing.TB, s *Store, at time.Time, do apikey.Action) apikey.Outcome {
	t.Helper()
	outcome, err := s.Apply(t.Context(), changeAt(at, do))
	if err != nil {
		t.Fatalf("Apply(%T): got error %v, want none", do, err)
	}
	return outcome
}

// refused makes a change that must fail with the given error and change nothing.
// A refusal leaves one event that says so; what the store could not do, none.
func refused(t testing.TB, s *Store, at time.Time, do apikey.Action, want *apikey.Error) {
	t.Helper()
	before, trail := contents(t, s), allEvents(t, s, "")
	if _, err := s.Apply(t.Context(), changeAt(at, do)); !errors.Is(err, want) {
		t.Fatalf("Apply(%T): got error %v, want %v", do, err, want)
	}
	equal(t, fmt.Sprintf("the store after a refused %T", do), contents(t, s), before)
	events := 1
	if want == apikey.ErrStoreUnavailable || want == apikey.ErrNoChanges || want == apikey.ErrNoSpace {
		events = 0
	}
	after := allEvents(t, s, "")
	if len(after) != len(trail)+events {
		t.Fatalf("events after a refused %T: got %d, want %d more than the %d from before", do, len(after), events, len(trail))
	}
	if events == 1 {
		equal(t, "refused", after[0].Details["refused"], any(want.Code))
		equal(t, "operation", after[0].Operation, do.Operation())
	}
}

// contents returns what is in a store apart from its audit trail, and the marks of its
// journal.
func contents(t testing.TB, s *Store) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := s.db.View(func(txn *durable.Txn) error {
		for key, value := range txn.Below(nil) {
			switch key := string(key); {
			case strings.HasPrefix(key, "a/"), strings.HasPrefix(key, "b/"), key == "m/journal", key == "m/base":
			default:
				found[key] = string(value)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("reading the store: %v", err)
	}
	return found
}

// bare returns an outcome without its event, and without how far it has reached.
func bare(outcome apikey.Outcome) apikey.Outcome {
	outcome.Event, outcome.Propagation = apikey.Event{}, apikey.Propagation{}
	return outcome
}

// mustCreate makes a key that must be accepted.
func mustCreate(t testing.TB, s *Store, ws, name string, at time.Time) apikey.Key {
	t.Helper()
	return mustApply(t, s, at, apikey.Create{Key: newKey(ws, name, at)}).Key
}

func mustRevoke(t testing.TB, s *Store, key apikey.Key, at time.Time) apikey.Outcome {
	t.Helper()
	return mustApply(t, s, at, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: "left"})
}

// lookup returns the key of a digest that must be known.
func lookup(t testing.TB, s *Store, digest apikey.Digest) apikey.Key {
	t.Helper()
	key, err := s.Lookup(digest)
	if err != nil {
		t.Fatalf("Lookup: got error %v, want a key", err)
	}
	if got, err := s.Grant(digest); err != nil || !reflect.DeepEqual(got, key.Grant()) {
		t.Errorf("Grant: got %+v and error %v, want that of the key: %+v", got, err, key.Grant())
	}
	return *key
}

// list returns the names of all keys that a filter chooses, newest first, read
// in pages of the given size.
func list(t testing.TB, s *Store, ws string, filter apikey.KeyFilter, size int, now time.Time) []string {
	t.Helper()
	names := []string{}
	for page := (apikey.Page{Limit: size}); ; {
		keys, next, err := s.Keys(t.Context(), ws, filter, page, now)
		if err != nil {
			t.Fatalf("Keys(%q, %+v): got error %v, want a page", ws, page, err)
		}
		if len(keys) > size {
			t.Fatalf("Keys(%q): got %d keys in a page of %d", ws, len(keys), size)
		}
		for _, key := range keys {
			names = append(names, key.Name)
		}
		if next == "" {
			return names
		}
		page.After = next
	}
}

// allEvents returns the audit trail of a workspace, or of all with "", newest
// first.
func allEvents(t testing.TB, s *Store, ws string) []apikey.Event {
	t.Helper()
	var events []apikey.Event
	for page := (apikey.Page{Limit: 200}); ; {
		some, next, err := s.Events(t.Context(), ws, page)
		if err != nil {
			t.Fatalf("Events(%q, %+v): got error %v, want a page", ws, page, err)
		}
		events = append(events, some...)
		if next == "" {
			return events
		}
		page.After = next
	}
}

// counts returns how many keys of a workspace are active, expired and revoked.
func counts(t testing.TB, s *Store, ws string, now time.Time) [3]int {
	t.Helper()
	n, err := s.CountKeys(t.Context(), ws, now)
	if err != nil {
		t.Fatalf("CountKeys(%q): got error %v, want counts", ws, err)
	}
	return [3]int{n[apikey.Active], n[apikey.Expired], n[apikey.Revoked]}
}

// suspended returns whether a workspace is, and holds the two ways to ask
// against each other.
func suspended(t testing.TB, s *Store, ws string) bool {
	t.Helper()
	got, err := s.Workspace(t.Context(), ws)
	if err != nil {
		t.Fatalf("Workspace(%q): got error %v, want a workspace", ws, err)
	}
	all, err := s.SuspendedWorkspaces()
	if err != nil {
		t.Fatalf("SuspendedWorkspaces: got error %v, want a list", err)
	}
	listed := false
	for _, id := range all {
		listed = listed || id == ws
	}
	if listed != got.Suspended() {
		t.Fatalf("workspace %q: suspended by itself %t, by the list of all %t", ws, got.Suspended(), listed)
	}
	return listed
}

// plant writes behind the store's back.
func plant(t testing.TB, s *Store, key, value []byte) {
	t.Helper()
	if err := behind(s, func(txn *transaction) error { return txn.Set(key, value) }); err != nil {
		t.Fatalf("writing %q: got error %v, want none", key, err)
	}
}

// behind writes what no change writes.
func behind(s *Store, do func(*transaction) error) error {
	return s.inTurn(context.Background(), "", false, func(turn *durable.Turn) error { return s.write(turn, start, do) })
}

// leave leaves so many bytes on the disk of a store.
func leave(s *Store, bytes uint64) {
	s.db.Inject(durable.Faults{Free: func() uint64 { return bytes }})
}

// restoreDisk ends what goes wrong with the disk of a store.
func restoreDisk(s *Store) { s.db.Inject(durable.Faults{}) }

// failCommits has commits fail after Badger has made them visible.
func failCommits(s *Store) {
	s.db.Inject(durable.Faults{Commit: func(commit func() error) error {
		return errors.Join(commit(), errors.New("input/output error"))
	}})
}

// builtAnew returns a store after its files were damaged, and built again.
func builtAnew(t *testing.T, s *Store) *Store {
	t.Helper()
	closeStore(t, s)
	if err := os.Remove(filepath.Join(s.Path(), "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	return open(t, s.Path(), nil)
}

// putKeys writes many keys behind the store's back, without events.
func putKeys(t testing.TB, s *Store, keys []apikey.Key) {
	t.Helper()
	for some := range slices.Chunk(keys, maxRevoked) {
		err := behind(s, func(txn *transaction) error {
			for i := range some {
				if err := insert(txn, &some[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func digestOf(text string) apikey.Digest { return sha256.Sum256([]byte(text)) }

func isUnavailable(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, apikey.ErrStoreUnavailable) {
		t.Errorf("%s: got error %v, want ErrStoreUnavailable", what, err)
	}
}

// everyCall makes each call that a store has, and hands its error on.
func everyCall(ctx context.Context, s *Store, report func(call string, err error)) {
	key := newKey("acme", fmt.Sprintf("Key %s", apikey.NewKeyID(start)), start)
	page := apikey.Page{Limit: 10}
	for _, do := range []apikey.Action{
		apikey.Create{Key: key},
		apikey.Update{WorkspaceID: "acme", KeyID: key.ID, Owner: new("Kim")},
		apikey.Rotate{WorkspaceID: "acme", KeyID: key.ID, Replacement: newKey("", "", start)},
		apikey.Lookup{Digest: key.Digest},
		apikey.RevokeAll{WorkspaceID: "acme"},
		apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID},
		apikey.Suspend{WorkspaceID: "acme"},
		apikey.Resume{WorkspaceID: "acme"},
	} {
		_, err := s.Apply(ctx, changeAt(start, do))
		report(fmt.Sprintf("Apply(%T)", do), err)
	}
	_, err := s.Lookup(key.Digest)
	report("Lookup", err)
	_, err = s.Key(ctx, "acme", key.ID)
	report("Key", err)
	_, _, err = s.Keys(ctx, "acme", apikey.KeyFilter{}, page, start)
	report("Keys", err)
	_, _, err = s.Events(ctx, "acme", page)
	report("Events", err)
	_, err = s.Workspace(ctx, "acme")
	report("Workspace", err)
	_, err = s.CountKeys(ctx, "acme", start)
	report("CountKeys", err)
	_, err = s.SuspendedWorkspaces()
	report("SuspendedWorkspaces", err)
	report("NoteUses", s.NoteUses(map[string]apikey.Use{key.ID: {At: start}}))
	_, err = s.ForgetEvents(ctx, start, start)
	report("ForgetEvents", err)
	report("Ping", s.Ping())
}
