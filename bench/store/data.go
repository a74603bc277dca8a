package main

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

const (
	perWorkspace = 100 // keys, if nothing else is said
	life         = 90 * 24 * time.Hour

	// sampled bounds the tokens that are kept to ask with.
	sampled = 200_000
)

// data is what is known of the keys in a store.
type data struct {
	keys       int
	workspaces int
	tokens     []apikey.Token // of some keys, in no order
}

// makeData fills a store with keys that were made one after the other within the
// life of a key, and of which none has ended.
func makeData(ctx context.Context, path string, n, perWorkspace int) (*data, error) {
	s, err := store.Open(path, zap.NewNop(), nil)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	d := &data{keys: n, workspaces: (n + perWorkspace - 1) / perWorkspace}
	bar := progressbar.Default(int64(n), fmt.Sprintf("making %d keys", n))
	if err := s.Fill(ctx, "bench", d.make(n, bar)); err != nil {
		return nil, err
	}
	rand.Shuffle(len(d.tokens), func(i, j int) { d.tokens[i], d.tokens[j] = d.tokens[j], d.tokens[i] })
	return d, bar.Finish()
}

func (d *data) make(n int, bar *progressbar.ProgressBar) iter.Seq[apikey.Key] {
	const within = 80 * 24 * time.Hour
	begin := time.Now().Add(-within)
	return func(yield func(apikey.Key) bool) {
		for i := range n {
			at := begin.Add(within / time.Duration(n) * time.Duration(i)).Truncate(time.Millisecond).UTC()
			token := apikey.NewToken(apikey.DefaultPrefix)
			if rand.IntN(n) < sampled {
				d.tokens = append(d.tokens, token)
			}
			// Workspaces take turns, so that the keys of one lie far apart.
			if !yield(newKey(i%d.workspaces, i/d.workspaces, token, at)) {
				return
			}
			if i%1000 == 0 {
				_ = bar.Set(i)
			}
		}
	}
}

func newKey(workspace, number int, token apikey.Token, at time.Time) apikey.Key {
	return apikey.Key{
		ID: apikey.NewKeyID(at), WorkspaceID: workspaceID(workspace), Name: fmt.Sprintf("Warehouse sync - production %d", number),
		Owner: "Operations", Preset: apikey.FullAccess, Digest: token.Digest(), TokenHint: token.Hint(),
		CreatedAt: at, CreatedBy: "bench", ExpiresAt: at.Add(life),
	}
}

func workspaceID(n int) string { return fmt.Sprintf("workspace-%d", n) }
