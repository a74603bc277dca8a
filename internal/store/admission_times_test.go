package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/durable"
)

// idAt returns an id with a time in it, which no other with this time sorts after.
func idAt(prefix string, at time.Time) string {
	return fmt.Sprintf("%s%sZZZZZZZZZZZZZZZZ", prefix, ulid.MustNew(uint64(at.UnixMilli()), nil).String()[:10])
}

// TestRestore_timesThatNoClockLeaves: nothing comes in that later ids would have to
// sort after for centuries, nor what is dated to when it cannot have happened.
func TestRestore_timesThatNoClockLeaves(t *testing.T) {
	// The last millisecond that a time in a record can have.
	last := time.UnixMilli(9223372036854)
	far := time.Date(2260, time.January, 1, 0, 0, 0, 0, time.UTC)
	past := time.Unix(1, 0)
	digest := craftedKey(9).Key.Digest
	s := openNew(t)
	for _, test := range []struct {
		name string
		line backupLine
		want string
	}{
		{"an event with the last id", craftedEvent(1, func(r *eventRecord) { r.ID = idAt("evt_", last) }), "the time in its id"},
		{"an event of 2260", craftedEvent(1, func(r *eventRecord) { r.At = toMillis(far) }), "a time in it"},
		{"an event of 1970", craftedEvent(1, func(r *eventRecord) { r.At = toMillis(past) }), "a time in it"},
		{"an event of a key of 2260", craftedEvent(1, func(r *eventRecord) { r.KeyID = idAt("key_", far) }), "its key"},
		{"a key with the last id", craftedKey(1, func(r *keyRecord) { r.ID = idAt("key_", last) }), "the time in its id"},
		{"a key with an id of 1970", craftedKey(1, func(r *keyRecord) { r.ID = idAt("key_", past) }), "its creation time"},
		{"a key created in 2260", craftedKey(1, func(r *keyRecord) { r.CreatedAt, r.ExpiresAt = toMillis(far), toMillis(far.Add(life)) }), "its creation time"},
		{"a key revoked in 2260", craftedKey(1, func(r *keyRecord) { r.RevokedAt = toMillis(far) }), "a time in it"},
		{"a key leaked in 2260", craftedKey(1, func(r *keyRecord) { r.LeakedAt = toMillis(far) }), "a time in it"},
		{"a key exposed in 2260", craftedKey(1, func(r *keyRecord) { r.ExposedAt = toMillis(far) }), "a time in it"},
		{"a replacement of 2260", craftedKey(1, func(r *keyRecord) { r.ReplacedBy, r.ReplacedAt = idAt("key_", far), r.CreatedAt }), "its replacement"},
		{"a use in 2260", backupLine{Use: &useRecord{KeyID: craftedID("key_", 1), Last: toMillis(far)}}, "a time in it"},
		{"a first use in 1970", backupLine{Use: &useRecord{KeyID: craftedID("key_", 1), Last: toMillis(start), First: toMillis(past)}}, "a time in it"},
		{"a suspension in 2260", backupLine{Suspension: &suspensionRecord{"acme", workspaceRecord{SuspendedAt: toMillis(far), Reason: ""}}}, "its time"},
		{"a feed of 2260", backupLine{Feed: &feedRecord{WorkspaceID: "acme", Digest: digest, CreatedAt: toMillis(far)}}, "its time"},
		{"a feed that ended in 2260", backupLine{EndedFeed: digest, EndedAt: toMillis(far)}, "its time"},
		{"what was deleted until 2260", backupLine{Forgotten: &forgotten{Feeds: toMillis(far)}}, "its time"},
	} {
		notRestored(t, s, test.name, crafted(t, apikey.BackupKey{}, test.line), test.want)
	}
	notRestored(t, s, "a backup made in 2260", craftedAt(t, far), "the header is dated 2260")
	if id := apikey.NewEventID(start); id >= idAt("evt_", start.Add(apikey.MaxAhead)) {
		t.Errorf("got the new id %s: it sorts after one that was refused", id)
	}
}

// TestRestore_thenBackup: whatever is let in, the store's own backups are too.
func TestRestore_thenBackup(t *testing.T) {
	ahead := start.Add(apikey.MaxAhead / 2)
	for name, lines := range map[string][]backupLine{
		"an event of a clock that was ahead": {craftedEvent(1, func(r *eventRecord) { r.ID, r.At = idAt("evt_", ahead), toMillis(ahead) })},
		"a key of a clock that was ahead": {craftedKey(1, func(r *keyRecord) {
			r.ID, r.CreatedAt, r.ExpiresAt = idAt("key_", ahead), toMillis(ahead), toMillis(ahead.Add(life))
		})},
		"a key that lives for long": {craftedKey(1, func(r *keyRecord) { r.ExpiresAt = toMillis(start.AddDate(200, 0, 0)) })},
		"ids that ran ahead":        {craftedKey(1, func(r *keyRecord) { r.ID = idAt("key_", ahead) })},
	} {
		t.Run(name, func(t *testing.T) {
			s := openNew(t)
			mustRestore(t, s, crafted(t, apikey.BackupKey{}, lines...), start)
			key := mustCreate(t, s, "acme", "Zapier", start)
			for _, line := range lines {
				if line.Key != nil && key.ID <= line.Key.ID {
					t.Errorf("got the id %s, want one after %s", key.ID, line.Key.ID)
				}
			}
			mustApply(t, s, start, rotation(key, start))
			equal(t, "findings", check(t, s, ahead)["records"], "")
			again := openNew(t)
			mustRestore(t, again, mustBackup(t, s, start), start)
			equal(t, "the key", lookup(t, again, key.Digest).ID, key.ID)
		})
	}
}

// notRestored checks that a backup is refused, and changes nothing.
func notRestored(t *testing.T, s *Store, name string, backup []byte, want string) {
	t.Helper()
	before := contents(t, s)
	_, restoreErr := restoreAt(t, s, backup, start, apikey.Restore{})
	_, checkErr := CheckBackup(t.Context(), apikey.BackupKey{}, bytes.NewReader(backup), start)
	for _, err := range []error{restoreErr, checkErr} {
		if !errors.Is(err, apikey.ErrInvalidBackup) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %v with %q", name, err, apikey.ErrInvalidBackup, want)
		}
	}
	equal(t, name, contents(t, s), before)
}

// craftedAt returns a backup without records that says when it was made.
func craftedAt(t *testing.T, at time.Time) []byte {
	t.Helper()
	var out bytes.Buffer
	w := newLineWriter(durable.Unpaced(t.Context()), apikey.BackupKey{}, &out)
	if err := errors.Join(w.write(backupLine{Begin: &backupBegin{Version: backupVersion, MadeAt: toMillis(at)}}), w.end()); err != nil {
		t.Fatal(err)
	}
	return zstdOf(t, out.Bytes())
}
