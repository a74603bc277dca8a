package store

import (
	"fmt"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// asFoldedBy writes the lists of names as a build with other data would have.
func asFoldedBy(t *testing.T, s *Store, data string, fold func(name string) string) {
	t.Helper()
	lists := make(map[string][]member)
	err := behind(s, func(txn *transaction) error {
		old := make(map[string]bool)
		for list := range txn.Below([]byte("n/")) {
			old[string(list)] = true
		}
		for list := range old {
			members, err := membersOf(txn, []byte(list))
			if err != nil {
				return err
			}
			for _, m := range members {
				key, err := keyByID(txn, m.ID)
				if err != nil {
					return err
				}
				to := string(nameKey(key.WorkspaceID, fold(key.Name)))
				lists[to] = append(lists[to], m)
			}
			if err := txn.Delete([]byte(list)); err != nil {
				return err
			}
		}
		for list, members := range lists {
			if err := save(txn, []byte(list), members); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = s.db.Note(func(txn *durable.Txn) error { return save(txn, namesKey, data) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Names that were folded by other data are folded by this build's when the store is
// opened: whatever was one name to the other build, or was not.
func TestOpen_refoldsNames(t *testing.T) {
	for name, fold := range map[string]func(string) string{
		"some of them alike":  func(name string) string { return name[:len(name)-1] },
		"none of them alike":  func(name string) string { return "~" + name },
		"the same ones alike": apikey.FoldName,
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t)
			keys := make([]apikey.Key, listsAtOnce+10) // more lists than one transaction takes
			for i := range keys {
				keys[i] = newKey("acme", fmt.Sprintf("Кey %d", i), start) // the first letter is Cyrillic
			}
			putKeys(t, s, keys)
			mustRotate(t, s, keys[0], start)
			mustRevoke(t, s, keys[1], start)
			asFoldedBy(t, s, "other data", fold)

			closeStore(t, s)
			findings, err := Examine(t.Context(), s.Path(), start)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "findings while it is closed", told(findings), map[string]string{})
			s = open(t, s.Path(), nil)
			s.refoldNames(t.Context()) // as upkeep does in the background
			equal(t, "findings", check(t, s, start), map[string]string{})
			refused(t, s, start, apikey.Create{Key: newKey("acme", "KEY 0", start)}, apikey.ErrNameTaken)
			mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "acme"})
			for record := range contents(t, s) {
				if record[:2] == "n/" {
					t.Errorf("all keys are revoked, and one is still in the list %q", record)
				}
			}
		})
	}
}

// Nothing is read again if the data is the same.
func TestOpen_foldedNames(t *testing.T) {
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	asFoldedBy(t, s, apikey.FoldData(), func(name string) string { return "~" + name })
	want := contents(t, s)
	s = reopen(t, s)
	s.refoldNames(t.Context())
	equal(t, "the store after a restart", contents(t, s), want)
}

// A key that ends, is renamed or deleted before its list is gone through leaves that
// list then.
func TestRefoldNames_changedMeanwhile(t *testing.T) {
	s := openNew(t)
	revoked, deleted, renamed := mustCreate(t, s, "acme", "Revoked", start), mustCreate(t, s, "acme", "Deleted", start), mustCreate(t, s, "acme", "Before", start)
	asFoldedBy(t, s, "other data", func(name string) string { return "~" + name })
	mustRevoke(t, s, revoked, start)
	mustApply(t, s, start, renaming(renamed, "After"))
	if err := behind(s, func(txn *transaction) error { return eraseKey(txn, &deleted) }); err != nil {
		t.Fatal(err)
	}
	equal(t, "findings before", check(t, s, start), map[string]string{})
	s.refoldNames(t.Context())
	equal(t, "findings", check(t, s, start), map[string]string{})
	for record := range contents(t, s) {
		if record[:2] == "n/" && record != string(nameKey("acme", apikey.FoldName("After"))) {
			t.Errorf("there is still the list %q", record)
		}
	}
}
