package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// TestRestore_crafted: the checksum of a backup proves nothing, so its records are
// checked, and nothing is changed before all of them were.
func TestRestore_crafted(t *testing.T) {
	s := openNew(t)
	empty, trail := contents(t, s), len(allEvents(t, s, ""))
	for _, test := range notAdmitted {
		_, err := restoreAt(t, s, crafted(t, apikey.BackupKey{}, test.lines...), start, apikey.Restore{Quarantine: true})
		if !errors.Is(err, apikey.ErrInvalidBackup) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want %v with %q", test.name, err, apikey.ErrInvalidBackup, test.want)
		}
		equal(t, test.name, contents(t, s), empty)
		equal(t, test.name+", the trail", len(allEvents(t, s, "")), trail)
	}
}

// What is odd about these can come of calls, restores and clocks.
func TestRestore_odd(t *testing.T) {
	for name, lines := range map[string][]backupLine{
		"a vague name":                        {craftedKey(1, func(r *keyRecord) { r.Name = "test" })},
		"two replacements of one key":         {craftedKey(1, replacedBy(3)), craftedKey(2, replaces(1)), craftedKey(3, replaces(1))},
		"links to keys that are not there":    {craftedKey(5, replaces(1), replacedBy(9))},
		"an event of a key that is forgotten": {craftedEvent(1, eventAbout("acme", 1))},
		"a refused call for another's key":    {craftedKey(1), craftedEvent(1, eventAbout("other", 1), refusedEvent)},
		"events before keys":                  {craftedEvent(1, eventAbout("acme", 1)), craftedKey(1)},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t)
			mustRestore(t, s, crafted(t, apikey.BackupKey{}, lines...), start)
			for _, line := range lines {
				if line.Key != nil {
					mustApply(t, s, start, apikey.Revoke{WorkspaceID: "acme", KeyID: line.Key.ID})
				}
			}
		})
	}
}

// A backup that contradicts the store is not of that store, nor of an earlier one.
func TestRestore_contradictsTheStore(t *testing.T) {
	for name, test := range map[string]struct {
		there, restored []backupLine
		want            string
	}{
		"another token":            {[]backupLine{craftedKey(1)}, []backupLine{craftedKey(1, tokenOf(2))}, "differs from the key with this id in the store"},
		"another workspace":        {[]backupLine{craftedKey(1)}, []backupLine{craftedKey(1, in("other"))}, "differs from the key with this id in the store"},
		"its token":                {[]backupLine{craftedKey(1)}, []backupLine{craftedKey(2, tokenOf(1))}, "has the same token as another one in the store"},
		"an older key elsewhere":   {[]backupLine{craftedKey(1)}, []backupLine{craftedKey(2, in("other"), replaces(1))}, "is linked to a key of another workspace in the store"},
		"a newer key elsewhere":    {[]backupLine{craftedKey(2)}, []backupLine{craftedKey(1, in("other"), replacedBy(2))}, "is linked to a key of another workspace in the store"},
		"a key that replaces none": {[]backupLine{craftedKey(2)}, []backupLine{craftedKey(1, replacedBy(2))}, "names a replacement that, in the store, does not replace it"},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t)
			mustRestore(t, s, crafted(t, apikey.BackupKey{}, test.there...), start)
			before := contents(t, s)
			_, err := restoreAt(t, s, crafted(t, apikey.BackupKey{}, test.restored...), start, apikey.Restore{})
			if !errors.Is(err, apikey.ErrInvalidBackup) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %v with %q", err, apikey.ErrInvalidBackup, test.want)
			}
			equal(t, "the store", contents(t, s), before)
		})
	}
}

// The older of two keys can be in the store alone, from when it had no replacement.
func TestRestore_linksOlderKey(t *testing.T) {
	s := openNew(t)
	mustRestore(t, s, crafted(t, apikey.BackupKey{}, craftedKey(1)), start)
	mustRestore(t, s, crafted(t, apikey.BackupKey{}, craftedKey(2, replaces(1))), start)
	again := openNew(t)
	equal(t, "keys", mustRestore(t, again, mustBackup(t, s, start), start).Keys, 2)
	equal(t, "findings", check(t, again, start), map[string]string{})
}

// However many keys have one name, or go back to one key, restoring each costs the
// same.
func TestRestore_crowds(t *testing.T) {
	s := openNew(t)
	var same, related []backupLine
	for n := 1; n <= 300; n++ {
		same = append(same, craftedKey(n, func(r *keyRecord) { r.Name = "Zapier" }))
		related = append(related, craftedKey(1000+n, replaces(1), func(r *keyRecord) { r.Family = craftedID("key_", 1) }))
	}
	equal(t, "renamed", mustRestore(t, s, crafted(t, apikey.BackupKey{}, same...), start).Renamed, len(same)-1)
	equal(t, "findings", check(t, s, start), map[string]string{})
	if _, err := restoreAt(t, s, crafted(t, apikey.BackupKey{}, related...), start, apikey.Restore{}); !errors.Is(err, apikey.ErrInvalidBackup) {
		t.Errorf("got error %v, want %v", err, apikey.ErrInvalidBackup)
	}
}

// TestRestore_bomb verifies that a backup that becomes far larger than it was is refused
// before all of it was read. White space makes it large: it costs little to read.
func TestRestore_bomb(t *testing.T) {
	const padded = 512 << 10
	padding := bytes.Repeat([]byte(" "), padded)
	var plain bytes.Buffer
	w := newLineWriter(durable.Unpaced(t.Context()), apikey.BackupKey{}, &plain)
	err := w.write(backupLine{Begin: &backupBegin{Version: backupVersion, MadeAt: toMillis(start)}})
	for n := range anyRatio/padded + 1 {
		event, encodeErr := json.Marshal(craftedEvent(n + 1))
		err = errors.Join(err, encodeErr, w.put(append(event, padding...)))
	}
	if err := errors.Join(err, w.end()); err != nil {
		t.Fatal(err)
	}
	bomb := zstdOf(t, plain.Bytes())
	_, err = CheckBackup(t.Context(), apikey.BackupKey{}, bytes.NewReader(bomb), start)
	if !errors.Is(err, apikey.ErrInvalidBackup) || !strings.Contains(err.Error(), "more than 256 times its size") {
		t.Errorf("got error %v of %d bytes, want one saying that it has become too large", err, len(bomb))
	}
}

func backupKey(t testing.TB, digit string) apikey.BackupKey {
	t.Helper()
	key, err := apikey.ParseBackupKey(strings.Repeat(digit, 64))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestRestore_signed(t *testing.T) {
	ours, another := backupKey(t, "a"), backupKey(t, "b")
	s := openNew(t)
	mustCreate(t, s, "acme", "Zapier", start)
	unsigned := mustBackup(t, s, start)
	s.SignWith(ours)
	signed := mustBackup(t, s, start)
	s.SignWith(another)
	signedByAnother := mustBackup(t, s, start)

	for _, test := range []struct {
		name       string
		backup     []byte
		key        apikey.BackupKey
		want       string
		unverified bool
	}{
		{"signed", signed, ours, "", false},
		{"not signed", unsigned, ours, "is not signed", false},
		{"signed by another", signedByAnother, ours, "was not signed with this gateway's backup_key", false},
		{"crafted", crafted(t, another, craftedKey(1)), ours, "was not signed with this gateway's backup_key", false},
		{"signed, and no key", signed, apikey.BackupKey{}, "", true},
		{"not signed, and no key", unsigned, apikey.BackupKey{}, "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			s.SignWith(test.key)
			before := contents(t, s)
			done, err := restoreAt(t, s, test.backup, start, apikey.Restore{})
			if test.want == "" {
				if err != nil || done.Keys != 1 {
					t.Fatalf("got %+v and error %v, want a key", done, err)
				}
				equal(t, "unverified", done.Unverified, test.unverified)
				return
			}
			if !errors.Is(err, apikey.ErrInvalidBackup) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %v with %q", err, apikey.ErrInvalidBackup, test.want)
			}
			equal(t, "the store", contents(t, s), before)
		})
	}
}

// TestCheck_foreignRecords: what a crafted backup has brought into a store, before
// restores checked it, is found.
func TestCheck_foreignRecords(t *testing.T) {
	for _, test := range []struct {
		name  string
		lines []backupLine
		want  string
	}{
		{"a cycle", []backupLine{craftedKey(1, replaces(2)), craftedKey(2, replaces(1))}, `of the key "key_01KJMMBX300000000000000001", the key that it replaces is not an older one`},
		{"links across workspaces", []backupLine{craftedKey(1, replacedBy(2)), craftedKey(2, in("other"), replaces(1))}, "the key that it is linked to is of another workspace"},
		{"an event of a foreign workspace", []backupLine{craftedEvent(1, func(r *eventRecord) { r.WorkspaceID = strings.Repeat("x", 260) })}, "its workspace id is not valid"},
		{"the year 10000", []backupLine{craftedKey(1, func(r *keyRecord) { r.ExpiresAt = 4e15 })}, "its expiry is out of range"},
		{"a suspension", []backupLine{{Suspension: &suspensionRecord{"acme", workspaceRecord{SuspendedAt: 1, Reason: "\x1b"}}}}, "its reason is not valid"},
		{"a feed", []backupLine{{Feed: &feedRecord{WorkspaceID: "acme", Digest: craftedKey(1).Key.Digest, CreatedAt: 1, CreatedBy: "\x1b"}}}, "who created it"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := openNew(t)
			if err := behind(s, func(txn *transaction) error {
				m := &merge{mayHave: s.MayHave, now: start, madeAt: start}
				return m.all(txn, apikey.Restored{}, test.lines)
			}); err != nil {
				t.Fatal(err)
			}
			got := check(t, s, start)["records"]
			if !strings.Contains(got, "could not have been created by any API call") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q in it", got, test.want)
			}
		})
	}
}

// TestApply_cycleInTheStore: no change waits for the end of a chain that has none.
func TestApply_cycleInTheStore(t *testing.T) {
	s := openNew(t)
	if err := behind(s, func(txn *transaction) error {
		m := &merge{mayHave: s.MayHave, now: start, madeAt: start}
		return m.all(txn, apikey.Restored{}, []backupLine{
			craftedKey(1, replaces(2), replacedBy(2)), craftedKey(2, replaces(1), replacedBy(1), func(r *keyRecord) { r.RevokedAt = 1 }),
		})
	}); err != nil {
		t.Fatal(err)
	}
	for _, do := range []apikey.Action{
		rotation(apikey.Key{WorkspaceID: "acme", ID: craftedID("key_", 1)}, start),
		apikey.Create{Key: newKey("acme", "Crafted 2", start), MaxActive: 1},
		renaming(apikey.Key{WorkspaceID: "acme", ID: craftedID("key_", 1)}, "Another name"),
	} {
		_, _ = s.Apply(t.Context(), changeAt(start, do)) // refused or not, it comes to an end
	}
	mustApply(t, s, start, apikey.RevokeAll{WorkspaceID: "acme"})
}

// New ids sort after those of the store, whatever the clock says by then.
func TestOpen_idsSortAfterThoseOfTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	ahead := apikey.FirstKeyID(start.AddDate(5, 0, 0))
	s := open(t, path, nil)
	if err := behind(s, func(txn *transaction) error {
		key := newKey("acme", "Made while the clock was ahead", start)
		key.ID = ahead
		return insert(txn, &key)
	}); err != nil {
		t.Fatal(err)
	}
	reopen(t, s)
	if got := apikey.NewKeyID(start); got <= ahead {
		t.Errorf("got the id %s, want one after %s", got, ahead)
	}
}

// FuzzRestore restores what is in a backup: whatever is let in leaves a store in
// which nothing is wrong, and which can be backed up and restored again.
func FuzzRestore(f *testing.F) {
	for _, test := range notAdmitted {
		f.Add(linesOf(f, test.lines...))
	}
	f.Add(linesOf(f, craftedKey(1, replacedBy(2)), craftedKey(2, replaces(1)), craftedEvent(1, eventAbout("acme", 1)),
		backupLine{Use: &useRecord{KeyID: craftedID("key_", 1), Last: toMillis(start), First: toMillis(start)}},
		backupLine{Suspension: &suspensionRecord{"acme", workspaceRecord{SuspendedAt: 1, Reason: "unpaid"}}},
		backupLine{Feed: &feedRecord{WorkspaceID: "acme", Digest: craftedKey(9).Key.Digest, CreatedAt: 1}}, backupLine{EndedFeed: craftedKey(8).Key.Digest, EndedAt: 1}, backupLine{Forgotten: &forgotten{Feeds: 1}}))
	s := openNew(f)
	f.Fuzz(func(t *testing.T, lines []byte) {
		backup := sealed(t, lines)
		if _, err := CheckBackup(t.Context(), apikey.BackupKey{}, bytes.NewReader(backup), start); err != nil {
			if !errors.Is(err, apikey.ErrInvalidBackup) {
				t.Fatalf("got error %v, want %v", err, apikey.ErrInvalidBackup)
			}
			return
		}
		errDiscard := errors.New("what was restored is to be discarded")
		err := behind(s, func(into *transaction) error {
			m := &merge{mayHave: s.MayHave, now: start, madeAt: start}
			_, _, err := readBackup(durable.Unpaced(t.Context()), apikey.BackupKey{}, bytes.NewReader(backup), func(_ int, line *backupLine) error {
				m.txn = into
				return m.record(line)
			})
			if err != nil {
				return err
			}
			v := &verifier{ctx: t.Context(), txn: into.Txn, pacer: durable.Unpaced(t.Context())}
			if err := v.all(); err != nil || v.foreign.n > 0 {
				t.Errorf("got %+v and error %v, want nothing foreign", v.foreign, err)
			}
			return errDiscard
		})
		if !errors.Is(err, errDiscard) && !errors.Is(err, durable.ErrTooBig) {
			t.Fatalf("restoring what was let in: %v", err)
		}
	})
}
