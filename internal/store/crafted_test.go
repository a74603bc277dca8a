package store

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// crafted returns a backup of lines that somebody else has written.
func crafted(t testing.TB, key apikey.BackupKey, lines ...backupLine) []byte {
	t.Helper()
	var out bytes.Buffer
	w := newLineWriter(durable.Unpaced(t.Context()), key, &out)
	err := w.write(backupLine{Begin: &backupBegin{Version: backupVersion, MadeAt: toMillis(start)}})
	for _, line := range lines {
		err = errors.Join(err, w.write(line))
	}
	if err = errors.Join(err, w.end()); err != nil {
		t.Fatal(err)
	}
	return zstdOf(t, out.Bytes())
}

// craftedID returns an id of a key or an event, in the order of n.
func craftedID(prefix string, n int) string { return fmt.Sprintf("%s01KJMMBX30%016d", prefix, n) }

// craftedKey returns the record of a key that nothing is wrong with.
func craftedKey(n int, change ...func(*keyRecord)) backupLine {
	digest := sha256.Sum256(fmt.Append(nil, n))
	r := &keyRecord{
		ID: craftedID("key_", n), WorkspaceID: "acme", Name: fmt.Sprint("Crafted ", n), Preset: "full_access", Digest: digest[:],
		TokenHint: "agk_…x7Qz", CreatedAt: toMillis(start), ExpiresAt: toMillis(start.Add(life)),
	}
	for _, apply := range change {
		apply(r)
	}
	return backupLine{Key: r}
}

func craftedEvent(n int, change ...func(*eventRecord)) backupLine {
	r := &eventRecord{ID: craftedID("evt_", n), At: toMillis(start), Actor: "alice", Operation: "create", WorkspaceID: "acme"}
	for _, apply := range change {
		apply(r)
	}
	return backupLine{Event: r}
}

func in(ws string) func(*keyRecord) { return func(r *keyRecord) { r.WorkspaceID = ws } }

func replaces(n int) func(*keyRecord) {
	return func(r *keyRecord) { r.Replaces = craftedID("key_", n) }
}

func replacedBy(n int) func(*keyRecord) {
	return func(r *keyRecord) { r.ReplacedBy, r.ReplacedAt = craftedID("key_", n), r.CreatedAt }
}

func tokenOf(n int) func(*keyRecord) {
	return func(r *keyRecord) { r.Digest = craftedKey(n).Key.Digest }
}

func eventAbout(ws string, n int) func(*eventRecord) {
	return func(r *eventRecord) { r.WorkspaceID, r.KeyID = ws, craftedID("key_", n) }
}

func refusedEvent(r *eventRecord) { r.Details = map[string]any{"refused": "not_found"} }

// notAdmitted are backups that no store was ever in a state to have taken, by what
// is said of them.
var notAdmitted = []struct {
	name  string
	lines []backupLine
	want  string
}{
	{"a cycle", []backupLine{craftedKey(1, replaces(2)), craftedKey(2, replaces(1))}, "in line 2 of"},
	{"a cycle of links that agree", []backupLine{craftedKey(1, replaces(2), replacedBy(2)), craftedKey(2, replaces(1), replacedBy(1))}, "not an older one"},
	{"a key that replaces itself", []backupLine{craftedKey(1, replaces(1))}, "not an older one"},
	{"a long cycle", []backupLine{craftedKey(1, replaces(3), replacedBy(2)), craftedKey(2, replaces(1), replacedBy(3)), craftedKey(3, replaces(2), replacedBy(1))}, "not an older one"},
	{"a replacement in another workspace", []backupLine{craftedKey(1, replacedBy(2)), craftedKey(2, replaces(1), in("other"))}, "line 3 of the decompressed backup, the key key_01KJMMBX300000000000000002 replaces a key of another workspace"},
	{"a replacement that knows nothing of it", []backupLine{craftedKey(1, replacedBy(2)), craftedKey(2)}, "is named as the replacement of a key that it does not replace"},
	{"a replaced key that knows nothing of it", []backupLine{craftedKey(1), craftedKey(2, replaces(1))}, "replaces a key that has no replacement"},
	{"two keys with one replacement", []backupLine{craftedKey(1, replacedBy(3)), craftedKey(2, replacedBy(3)), craftedKey(3, replaces(1))}, "the same replacement"},
	{"a family of its own", []backupLine{craftedKey(1), craftedKey(2, replacedBy(3)), craftedKey(3, replaces(2), func(r *keyRecord) { r.Family = craftedID("key_", 1) })}, "does not belong to the same chain of rotations"},
	{"a younger family", []backupLine{craftedKey(1, func(r *keyRecord) { r.Family = craftedID("key_", 2) })}, "the key that it goes back to"},
	{"one token", []backupLine{craftedKey(1), craftedKey(2, tokenOf(1))}, "has the same token as another one"},
	{"one id", []backupLine{craftedKey(1), craftedKey(1, tokenOf(2))}, "a duplicate"},
	{"the wrong order", []backupLine{craftedKey(2), craftedKey(1)}, "out of order"},
	{"an id that is none", []backupLine{craftedKey(1, func(r *keyRecord) { r.ID = "key_1" })}, "its id is not valid"},
	{"a name with an escape", []backupLine{craftedKey(1, func(r *keyRecord) { r.Name = "Zapier \x1b[2J" })}, "its name is not valid"},
	{"the year 10000", []backupLine{craftedKey(1, func(r *keyRecord) { r.ExpiresAt = 4e15 })}, "its expiry is out of range"},
	{"a foreign workspace id", []backupLine{craftedKey(1, in(strings.Repeat("x", 260)))}, "a required field is missing or invalid"},

	{"a hint that is none", []backupLine{craftedKey(1, func(r *keyRecord) { r.TokenHint = "" })}, "its token hint is not valid"},
	{"an imported key that replaces another", []backupLine{craftedKey(1, replacedBy(2)), craftedKey(2, replaces(1), func(r *keyRecord) { r.Imported = true })}, "it was imported, and replaces another key"},
	{"an imported key with a token", []backupLine{craftedKey(1, func(r *keyRecord) {
		r.Imported, r.TokenHint = true, "sk-1234"
		digest := sha256.Sum256([]byte(r.TokenHint))
		r.Digest = digest[:]
	})}, "it has its token in it"},

	{"an event of a foreign workspace", []backupLine{craftedEvent(1, func(r *eventRecord) { r.WorkspaceID = "acme" + strings.Repeat("x", 256) })}, "line 2 of the decompressed backup, the record of an event cannot be restored: its workspace id is not valid"},
	{"an event of the year 55000", []backupLine{craftedEvent(1, func(r *eventRecord) { r.At = 17e14 })}, "its time is out of range"},
	{"an invented operation", []backupLine{craftedEvent(1, func(r *eventRecord) { r.Operation = "forge" })}, "its operation is not known"},
	{"an event of another workspace's key", []backupLine{craftedKey(1), craftedEvent(1, eventAbout("other", 1))}, "is of a key of another workspace"},
	{"an event of another workspace's key, before it", []backupLine{craftedEvent(1, eventAbout("other", 1)), craftedKey(1)}, "has events of another workspace"},
	{"an event twice", []backupLine{craftedEvent(1), craftedEvent(1)}, "a duplicate"},

	{"a suspension of a foreign workspace", []backupLine{{Suspension: &suspensionRecord{strings.Repeat("x", 300), workspaceRecord{SuspendedAt: 1}}}}, "its workspace id is not valid"},
	{"a suspension that is none", []backupLine{{Suspension: &suspensionRecord{WorkspaceID: "acme"}}}, "its time is out of range"},
	{"a suspension with a long reason", []backupLine{{Suspension: &suspensionRecord{"acme", workspaceRecord{SuspendedAt: 1, Reason: strings.Repeat("x", 501)}}}}, "its reason is not valid"},
	{"a use of no key", []backupLine{{Use: &useRecord{KeyID: "x", Last: 1}}}, "its key id is not valid"},
	{"a use in the year 55000", []backupLine{{Use: &useRecord{KeyID: craftedID("key_", 1), Last: 17e14}}}, "its time is out of range"},
	{"a use from nowhere", []backupLine{{Use: &useRecord{KeyID: craftedID("key_", 1), Last: 1, From: "\x1b"}}}, "its address is not valid"},
	{"a feed without a token", []backupLine{{Feed: &feedRecord{WorkspaceID: "acme", CreatedAt: 1}}}, "it has no digest"},
	{"a feed of a foreign workspace", []backupLine{{Feed: &feedRecord{WorkspaceID: "..", Digest: craftedKey(1).Key.Digest, CreatedAt: 1}}}, "its workspace id is not valid"},
	{"a feed with the token of a key", []backupLine{craftedKey(1), {Feed: &feedRecord{WorkspaceID: "acme", Digest: craftedKey(1).Key.Digest, CreatedAt: 1}}}, "has the same token as another one"},
	{"a feed that has ended and has not", []backupLine{{Feed: &feedRecord{WorkspaceID: "acme", Digest: craftedKey(1).Key.Digest, CreatedAt: 1}}, {EndedFeed: craftedKey(1).Key.Digest}}, "has the same token as another one"},
	{"an ended feed without a token", []backupLine{{EndedFeed: []byte("x")}}, "it has no digest"},
	{"a feed that ended before 1970", []backupLine{{EndedFeed: craftedKey(1).Key.Digest, EndedAt: -1}}, "its time is out of range"},
	{"a feed that ended in the year 55000", []backupLine{{EndedFeed: craftedKey(1).Key.Digest, EndedAt: 17e14}}, "its time is out of range"},
	{"a deleted key without a token", []backupLine{{Tombstone: []byte("x")}}, "it has no digest"},
	{"a deleted key twice", []backupLine{{Tombstone: craftedKey(1).Key.Digest}, {Tombstone: craftedKey(1).Key.Digest}}, "a duplicate"},
	{"what was deleted until the year 55000", []backupLine{{Forgotten: &forgotten{Feeds: 17e14}}}, "its time is out of range"},
	{"what was deleted, twice", []backupLine{{Forgotten: &forgotten{Feeds: 1}}, {Forgotten: &forgotten{Feeds: 2}}}, "a duplicate"},
	{"two records in one", []backupLine{{Key: craftedKey(1).Key, Event: craftedEvent(1).Event}}, "exactly one record"},
	{"no record", []backupLine{{}}, "exactly one record"},
}

func linesOf(t testing.TB, lines ...backupLine) []byte {
	t.Helper()
	var out bytes.Buffer
	w := newLineWriter(durable.Unpaced(t.Context()), apikey.BackupKey{}, &out)
	for _, line := range lines {
		if err := w.write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.to.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// sealed makes a backup of lines, which need not be any.
func sealed(t *testing.T, lines []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := newLineWriter(durable.Unpaced(t.Context()), apikey.BackupKey{}, &out)
	err := w.write(backupLine{Begin: &backupBegin{Version: backupVersion, MadeAt: toMillis(start)}})
	for line := range bytes.Lines(lines) {
		line = append(bytes.TrimSuffix(line, []byte("\n")), '\n')
		w.lines++
		w.sums.add(line)
		_, writeErr := w.to.Write(line)
		err = errors.Join(err, writeErr)
	}
	if err := errors.Join(err, w.end()); err != nil {
		t.Fatal(err)
	}
	return zstdOf(t, out.Bytes())
}
