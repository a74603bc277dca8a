package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

const (
	roleWrite = "write" // makes changes and says each one that was acknowledged
	roleNote  = "note"  // notes uses of one key and says each one that was noted
	roleSend  = "send"  // makes changes and delivers the messages about them, and says what was done

	roleReplay = "replay" // replays changes of a fleet and says each one that was applied
)

// notedKey is the key whose uses the noter notes.
const notedKey = "key_01KSYYFFG0FDH6HZGZGMQJ210W"

// child is what this test's binary does as another process. The roles are
// above; it returns the exit status.
func child(role, path string) int {
	if role == roleReplay {
		fmt.Println(replayKeys(path))
		return 1
	}
	s, err := Open(path, zap.NewNop(), nil)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(testenv.Opened)
	switch role {
	case roleWrite:
		err = write(s)
	case roleSend:
		err = send(s)
	case roleNote:
		for at := start; err == nil; at = at.Add(time.Millisecond) {
			err = errors.Join(
				s.NoteUses(map[string]apikey.Use{notedKey: {At: at, From: "192.0.2.1"}}),
				s.NoteUsage(map[apikey.KeyDay]apikey.Usage{{KeyID: notedKey, Day: someDay}: {Reads: 1}}),
			)
			fmt.Println("noted", at.UnixMilli())
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// write makes changes until it is killed. Each key is "created", some of them by being
// imported together, and then half of the others "revoked"; each line is printed after
// Apply has returned.
func write(s *Store) error {
	for i := 0; ; i++ {
		now := start.Add(time.Duration(i) * time.Second)
		key := newKey("acme", "Key "+apikey.NewKeyID(now), now)
		key.Owner = strings.Repeat("x", 2000)
		if _, err := s.Apply(context.Background(), changeAt(now, apikey.Create{Key: key})); err != nil {
			return err
		}
		fmt.Println("created", key.ID)
		if i%5 == 3 {
			if err := importSome(s, now); err != nil {
				return err
			}
		}
		if i%2 == 1 {
			continue
		}
		if _, err := s.Apply(context.Background(), changeAt(now, apikey.Revoke{WorkspaceID: "acme", KeyID: key.ID})); err != nil {
			return err
		}
		fmt.Println("revoked", key.ID)
	}
}

const importedTogether = 3

// importSome imports a few keys together.
func importSome(s *Store, now time.Time) error {
	var changes []apikey.Change
	for range importedTogether {
		id := apikey.NewKeyID(now)
		key := imported(id, "acme", "Key "+id, now)
		key.ID = id
		changes = append(changes, changeAt(now, apikey.Import{Key: key}))
	}
	results, err := s.ApplyAll(context.Background(), changes)
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	for _, r := range results {
		fmt.Println("created", r.Outcome.Key.ID)
	}
	return err
}

// What has been acknowledged is there after the process was killed, whenever
// that was: whole, with its event, and nothing is there in half.
func TestApply_killed(t *testing.T) {
	kills, budget := 12, time.Minute
	if testing.Short() {
		kills = 5
	}
	path := filepath.Join(t.TempDir(), "keys")
	acknowledged := map[string]apikey.Status{}
	deadline := time.Now().Add(budget)
	done := 0
	for ; done < kills && time.Now().Before(deadline); done++ {
		p := testenv.StartChild(t, roleWrite, path)
		// From none to some dozens of changes. The kill itself comes from outside, while
		// the writer keeps writing and its lines are still being read.
		for n := 0; p.Lines.Scan(); n++ {
			operation, id, _ := strings.Cut(p.Lines.Text(), " ")
			switch operation {
			case "created":
				acknowledged[id] = apikey.Active
			case "revoked":
				acknowledged[id] = apikey.Revoked
			default:
				t.Fatalf("the writer failed: %s", p.Lines.Text())
			}
			if n == done*7 {
				_ = p.Process.Kill()
			}
		}
		p.End()
		verify(t, path, acknowledged)
	}
	if done == 0 || len(acknowledged) == 0 {
		t.Fatalf("got %d kills and %d acknowledged keys, want some", done, len(acknowledged))
	}
	t.Logf("%d kills, %d acknowledged keys", done, len(acknowledged))
}

// A use that was noted is there after the process was killed, or a later one, and each
// request that was counted is, once.
func TestNoteUses_killed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	s := open(t, path, nil)
	key := newKey("acme", "Zapier", start)
	key.ID = notedKey
	mustApply(t, s, start, apikey.Create{Key: key})
	closeStore(t, s)
	reads := uint64(0)
	for kill := range 5 {
		p := testenv.StartChild(t, roleNote, path)
		last := ""
		for n := 0; p.Lines.Scan(); n++ {
			if _, at, found := strings.Cut(p.Lines.Text(), "noted "); found {
				last = at
				reads++
			}
			if n == kill*7 {
				_ = p.Process.Kill()
			}
		}
		p.End()
		s := open(t, path, nil)
		if got := fmt.Sprint(lastUse(t, s, key).UnixMilli()); got < last {
			t.Errorf("after a kill: got a last use at %s, want %s or later", got, last)
		}
		usage, err := s.Usage(t.Context(), key.WorkspaceID, []string{key.ID}, someDay, someDay)
		if err != nil || len(usage[key.ID]) != 1 || usage[key.ID][0].Reads < reads || usage[key.ID][0].Reads > reads+1 {
			t.Fatalf("after a kill: got %v, %v, want %d reads, or one more", usage, err, reads)
		}
		reads = usage[key.ID][0].Reads
		equal(t, "the key", lookup(t, s, key.Digest), key)
		closeStore(t, s)
	}
}

// verify holds a store whose writer was killed against what was acknowledged.
func verify(t *testing.T, path string, acknowledged map[string]apikey.Status) {
	t.Helper()
	s, err := Open(path, zap.NewNop(), nil)
	if err != nil {
		t.Fatalf("Open after a kill: got error %v, want a store", err)
	}
	defer closeStore(t, s)
	trail := map[string]map[apikey.Operation]int{}
	for _, event := range allEvents(t, s, "acme") {
		if trail[event.KeyID] == nil {
			trail[event.KeyID] = map[apikey.Operation]int{}
		}
		trail[event.KeyID][event.Operation]++
	}
	equal(t, "events in the trail of all", len(allEvents(t, s, "")), len(allEvents(t, s, "acme")))

	m := &model{}
	found := map[string]apikey.Status{}
	keys, _, err := s.Keys(t.Context(), "acme", apikey.KeyFilter{}, apikey.Page{Limit: 1 << 20}, start)
	if err != nil {
		t.Fatalf("Keys after a kill: got error %v, want all", err)
	}
	for _, key := range keys {
		status := key.Status(start)
		found[key.ID] = status
		m.keys = append(m.keys, *key)
		equal(t, "by its digest", lookup(t, s, key.Digest), *key)
		want := map[apikey.Operation]int{apikey.OpCreate: 1}
		if key.Imported {
			want = map[apikey.Operation]int{apikey.OpImport: 1}
		}
		if status == apikey.Revoked {
			want[apikey.OpRevoke] = 1
		}
		equal(t, "events of "+key.ID, trail[key.ID], want)
	}
	equal(t, "keys with events", len(trail), len(keys))
	equal(t, "census", census(t, s, start), m.census(start))
	for id, status := range acknowledged {
		if got := found[id]; got != status && !(status == apikey.Active && got == apikey.Revoked) {
			t.Errorf("%s was acknowledged as %s: got %q", id, status, got)
		}
	}
	// One change may have been made and not acknowledged, or all of an import; from here on
	// it counts.
	extra := 0
	for id, status := range found {
		if acknowledged[id] != status {
			extra++
			acknowledged[id] = status
		}
	}
	if extra > importedTogether {
		t.Errorf("got %d changes that were not acknowledged, want 1 at most, or the %d of an import", extra, importedTogether)
	}
}
