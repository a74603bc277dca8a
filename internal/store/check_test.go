package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// told returns what is not fine among findings, by what was checked.
func told(findings []doctor.Finding) map[string]string {
	wrong := make(map[string]string)
	for _, f := range findings {
		if f.Severity != doctor.Fine {
			wrong[f.Check] += string(f.Severity) + ": " + f.Message
		}
	}
	return wrong
}

func check(t *testing.T, s *Store, now time.Time) map[string]string {
	t.Helper()
	findings, err := s.Check(t.Context(), now)
	if err != nil {
		t.Fatalf("Check: got error %v, want findings", err)
	}
	return told(findings)
}

// livedStore is a store in which everything has happened that leaves a record.
func livedStore(t *testing.T) *Store {
	t.Helper()
	s := openNew(t)
	key, other := mustCreate(t, s, "acme", "Zapier", start), mustCreate(t, s, "acme", "Billing", start)
	do := rotation(key, start)
	do.RevokeOldAt = start.Add(day)
	mustApply(t, s, start, do)
	mustRevoke(t, s, other, start)
	mustCreate(t, s, "globex", "Warehouse", start)
	mustApply(t, s, start, apikey.Suspend{WorkspaceID: "globex", Reason: "unpaid"})
	for range 2 { // the second ends the first
		mustApply(t, s, start, apikey.OpenFeed{WorkspaceID: "acme", Digest: apikey.NewFeedToken().Digest()})
	}
	mustApply(t, s, start, apikey.Lookup{Digest: key.Digest})
	mustApply(t, s, start, apikey.Backup{})
	mustNote(t, s, map[string]time.Time{key.ID: start})
	return s
}

func TestCheck(t *testing.T) {
	s := livedStore(t)
	equal(t, "findings", check(t, s, start), map[string]string{})
	if _, err := s.ForgetEvents(t.Context(), start.Add(time.Hour), start.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	equal(t, "findings after a restart", check(t, s, start), map[string]string{})
	closeStore(t, s)
	if _, err := s.Check(t.Context(), start); !errors.Is(err, apikey.ErrStoreUnavailable) {
		t.Errorf("a closed store: got error %v, want ErrStoreUnavailable", err)
	}
}

// A closed store is checked like an open one, and is what it was afterwards.
func TestExamine(t *testing.T) {
	s := livedStore(t)
	closeStore(t, s)
	examine := func(path string) map[string]string {
		t.Helper()
		findings, err := Examine(t.Context(), path, start)
		if err != nil {
			t.Fatalf("Examine: got error %v, want findings", err)
		}
		return told(findings)
	}
	equal(t, "findings", examine(s.Path()), map[string]string{})
	s = open(t, s.Path(), nil)
	plant(t, s, nameKey("acme", "x"), []byte("[]x"))
	closeStore(t, s)
	if got := examine(s.Path()); len(got) != 1 || !strings.Contains(got["records"], "decoding") {
		t.Errorf("with a damaged list: got the findings %q, want the record", got)
	}
	if _, err := NewJournal(s.Path(), start); err == nil || !strings.Contains(err.Error(), "the journal is intact") {
		t.Errorf("NewJournal: got error %v, want one saying that the journal is intact", err)
	}
	if _, err := Examine(t.Context(), t.TempDir(), start); err == nil || !strings.Contains(err.Error(), "there is no key store in") {
		t.Errorf("an empty directory: got error %v, want one saying that there is no store", err)
	}
}

// What a record says and an index does not, or the other way round, is found.
func TestCheck_records(t *testing.T) {
	for _, test := range []struct {
		name   string
		damage func(*transaction, apikey.Key) error
		want   string
	}{
		{"no digest", func(txn *transaction, k apikey.Key) error { return txn.Delete(digestKey(k.Digest)) }, "the index has no"},
		{"another's digest", func(txn *transaction, k apikey.Key) error { return txn.Set(digestKey(k.Digest), []byte("key_x")) }, `the index has "key_x"`},
		{"not in its workspace", func(txn *transaction, k apikey.Key) error { return txn.Delete(workspaceKey("acme", k.ID)) }, "the index has no"},
		{"in another workspace", func(txn *transaction, k apikey.Key) error { return txn.Set(workspaceKey("globex", k.ID), nil) }, "the index w/ has 2 entries, and should have 1"},
		{"the value of another", func(txn *transaction, k apikey.Key) error { return txn.Set(digestKey(k.Digest), []byte("key_x")) }, `the index has "key_x" for`},
		{"no end", func(txn *transaction, k apikey.Key) error { return txn.Delete(endKey(endingOf(&k), k.ID)) }, "the index has no"},
		{"a damaged record", func(txn *transaction, k apikey.Key) error { return txn.Set(recordKey(k.ID), []byte("{}")) }, "is of another key"},
		{"a count too many", func(txn *transaction, k apikey.Key) error {
			return addTo(txn, timeKey(days.prefix, days.begin(toMillis(k.ExpiresAt))), 0, 1)
		}, "the count of keys that end from"},
		{"a name of nobody", func(txn *transaction, k apikey.Key) error {
			return save(txn, nameKey("acme", "x"), []member{{ID: "key_x"}})
		}, "has key_x, which does not belong there"},
		{"a name of another", func(txn *transaction, k apikey.Key) error {
			return save(txn, nameKey("acme", "x"), []member{memberOf(&k)})
		}, "which does not belong there"},
		{"no name", func(txn *transaction, k apikey.Key) error { return txn.Delete(nameOf(&k)) }, "is not in the list"},
		{"no slot", func(txn *transaction, k apikey.Key) error { return txn.Delete(slotKey(k.ID)) }, "the index has no"},
		{"another's slot", func(txn *transaction, k apikey.Key) error { return save(txn, placeKey("acme", 0), member{ID: "key_x"}) }, "is not "},
		{"a roster of more", func(txn *transaction, k apikey.Key) error { return save(txn, rosterKey("acme"), roster{Current: 2}) }, "the count of the workspace"},
		{"an ended key of nobody", func(txn *transaction, k apikey.Key) error {
			return txn.Set(endedKey("acme", apikey.Expired, "key_x"), nil)
		}, "the index d/ has 1 entries, and should have 0"},
		{"an event of no workspace", func(txn *transaction, _ apikey.Key) error { return txn.Set(eventIndexKey("acme", "evt_x"), nil) }, "the index b/ has 2 entries, and should have 1"},
		{"a damaged event", func(txn *transaction, _ apikey.Key) error { return txn.Set(eventKey("evt_x"), []byte("{}")) }, "the record of the event evt_x belongs to another event"},
		{"a feed of nobody", func(txn *transaction, _ apikey.Key) error {
			return txn.Set(feedKey(apikey.Digest{}), feedState{WorkspaceID: "acme"}.encode())
		}, "the index f/ has 1 entries, and should have 0"},
		{"a damaged feed", func(txn *transaction, _ apikey.Key) error { return txn.Set(feedKey(apikey.Digest{}), []byte("acme")) }, "decoding"},
		{"a feed without a digest", func(txn *transaction, _ apikey.Key) error {
			return txn.Set([]byte("f/x"), feedState{EndedAt: 1}.encode())
		}, "has no digest"},
		{"an ended feed that is never forgotten", func(txn *transaction, _ apikey.Key) error {
			return txn.Set(feedKey(apikey.Digest{}), feedState{EndedAt: 1}.encode())
		}, "the index has no"},
		{"an ended feed that is not known", func(txn *transaction, _ apikey.Key) error {
			return txn.Set(endedFeedKey(1, apikey.Digest{}), nil)
		}, "the index h/ has 1 entries, and should have 0"},
		{"a damaged suspension", func(txn *transaction, _ apikey.Key) error { return txn.Set(suspensionKey("acme"), []byte("{}")) }, "acme"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			key := mustCreate(t, s, "acme", "Zapier", start)
			if err := behind(s, func(txn *transaction) error { return test.damage(txn, key) }); err != nil {
				t.Fatal(err)
			}
			if got := check(t, s, start); len(got) != 1 || !strings.Contains(got["records"], test.want) {
				t.Errorf("got %q, want records with %q", got, test.want)
			}
		})
	}
}

func mustCheck(t *testing.T, s *Store) []doctor.Finding {
	t.Helper()
	findings, err := s.Check(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	return findings
}
