package admin

import (
	"context"
	"crypto/sha256"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// tryout tells what an import would do. It changes nothing, and accounts for the lines
// before by remembering their tokens and names, in about 200 bytes a line.
type tryout struct {
	keys   Keys
	tokens map[half]foreseen
	names  map[half]struct{}
}

// half is half of a digest, which is enough to tell lines apart.
type half [sha256.Size / 2]byte

// foreseen is a key that would be there by now.
type foreseen struct {
	same half // of what makes another line the same key
	id   string
}

func newTryout(keys Keys) *tryout {
	return &tryout{keys: keys, tokens: make(map[half]foreseen), names: make(map[half]struct{})}
}

// all returns what would become of keys.
func (t *tryout) all(ctx context.Context, keys []apikey.Key, now time.Time) []apikey.Planned {
	results := make([]apikey.Planned, len(keys))
	for i, key := range keys {
		results[i].Outcome, results[i].Err = t.one(ctx, key, now)
	}
	return results
}

// one returns what would become of a key, in the order in which the store checks it.
func (t *tryout) one(ctx context.Context, key apikey.Key, now time.Time) (apikey.Outcome, error) {
	token, same := half(key.Digest[:]), halfOf(key.WorkspaceID, key.Name, string(key.Preset))
	if before, ok := t.tokens[token]; ok {
		if before.same != same {
			return apikey.Outcome{}, apikey.ErrTokenTaken
		}
		return apikey.Outcome{Key: apikey.Key{ID: before.id}, Unchanged: true}, nil
	}
	outcome, err := t.keys.TryImport(ctx, key, now)
	if err != nil || outcome.Unchanged {
		return outcome, err
	}
	name := halfOf(key.WorkspaceID, apikey.FoldName(key.Name))
	if _, taken := t.names[name]; taken {
		return apikey.Outcome{}, apikey.ErrNameTaken
	}
	t.tokens[token], t.names[name] = foreseen{same, key.ID}, struct{}{}
	return outcome, nil
}

func halfOf(texts ...string) half {
	h := sha256.New()
	for _, text := range texts {
		h.Write([]byte(text))
		h.Write([]byte{0}) // which is in none of them
	}
	return half(h.Sum(nil))
}
