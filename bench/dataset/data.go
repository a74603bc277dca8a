// Package dataset makes large stores to measure with.
package dataset

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

const (
	// PerWorkspace is how many keys a workspace has by default.
	PerWorkspace = 100
	life         = 90 * 24 * time.Hour

	// sampled is the maximum number of tokens kept for sending requests.
	sampled = 200_000
)

// Data describes the keys in a store.
type Data struct {
	Keys       int
	Workspaces int
	Tokens     []apikey.Token // of a sample of keys, in random order
}

// Make fills a store with keys that were created over the lifetime of a key, none
// of which has ended.
func Make(ctx context.Context, path string, n, perWorkspace int) (*Data, error) {
	s, err := store.Open(path, zap.NewNop(), nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	s.Alone()
	d := &Data{Keys: n, Workspaces: (n + perWorkspace - 1) / perWorkspace}
	from, to := io.Pipe()
	go func() { to.CloseWithError(d.writeBackup(to)) }()
	defer from.Close() // ends the writer
	bar := progressbar.Default(-1, fmt.Sprintf("restoring %d keys", n))
	now := time.Now().UTC()
	if _, err := s.Restore(ctx, from, apikey.Change{EventID: apikey.NewEventID(now), At: now, Actor: "bench"}, apikey.Restore{}, bar); err != nil {
		return nil, err
	}
	if err := awaitSnapshot(ctx, path); err != nil {
		return nil, err
	}
	rand.Shuffle(len(d.Tokens), func(i, j int) { d.Tokens[i], d.Tokens[j] = d.Tokens[j], d.Tokens[i] })
	return d, bar.Finish()
}

// awaitSnapshot waits until a snapshot has replaced the restore in the journal, as in a
// store whose server has run for a while.
func awaitSnapshot(ctx context.Context, path string) error {
	const small = 16 << 20
	for {
		segments, err := filepath.Glob(filepath.Join(path, "journal", "*.journal"))
		var size int64
		for _, name := range segments {
			if info, err := os.Stat(name); err == nil {
				size += info.Size()
			}
		}
		if err != nil || size < small {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Key returns a key of a workspace.
func Key(workspace, number int, token apikey.Token, at time.Time) apikey.Key {
	return apikey.Key{
		ID: apikey.NewKeyID(at), WorkspaceID: WorkspaceID(workspace), Name: fmt.Sprintf("Warehouse sync - production %d", number),
		Owner: "Operations", Preset: apikey.FullAccess, Digest: token.Digest(), TokenHint: token.Hint(),
		CreatedAt: at, CreatedBy: "bench", ExpiresAt: at.Add(life),
	}
}

// WorkspaceID returns the id of the workspace with a number.
func WorkspaceID(n int) string { return fmt.Sprintf("workspace-%d", n) }
