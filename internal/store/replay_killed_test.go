package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// replayKeys replays one new key after the other, until it is killed.
func replayKeys(path string) error {
	s, err := OpenReplica(path, fleetPrefix, zap.NewNop(), nil)
	if err != nil {
		return err
	}
	fmt.Println(testenv.Opened)
	for {
		from, _, err := s.Position()
		if err != nil {
			return err
		}
		to := from
		to.Seq++
		key := newKey("acme", fmt.Sprint("Key ", to.Seq), start)
		value, err := encode(toRecord(&key))
		list := []apikey.Record{{Kind: apikey.RecordKey, ID: key.ID, Value: value}}
		if err := errors.Join(err, s.Replay(context.Background(), from, to, list)); err != nil {
			return err
		}
		fmt.Println("applied", to.Seq)
	}
}

// However a replica ends, it has exactly the changes up to its position.
func TestReplay_killed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	s := openReplica(t, path, nil)
	mustReload(t, s, nil, apikey.Position{Head: apikey.Head{Fleet: "fleet"}})
	for kill := range 8 {
		closeStore(t, s)
		if kill%2 == 1 { // and is rebuilt from its journal
			if err := os.Remove(filepath.Join(path, "MANIFEST")); err != nil {
				t.Fatal(err)
			}
		}
		p := testenv.StartChild(t, roleReplay, path)
		applied := uint64(0)
		for n := 0; p.Lines.Scan(); n++ {
			if _, err := fmt.Sscan(strings.TrimPrefix(p.Lines.Text(), "applied "), &applied); err != nil {
				t.Fatalf("the replica failed: %s", p.Lines.Text())
			}
			if n == kill*5 {
				_ = p.Process.Kill()
			}
		}
		p.End()
		s = openReplica(t, path, nil)
		at, complete, err := s.Position()
		if err != nil || !complete || at.Seq < applied || at.Seq > applied+1 {
			t.Fatalf("after a kill: got position %d, complete %t and error %v, want %d or the next", at.Seq, complete, err, applied)
		}
		equal(t, "keys", uint64(len(recordsOf(t, s))), at.Seq)
		soundRecords(t, s)
	}
}
