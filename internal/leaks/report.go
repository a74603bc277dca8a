package leaks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A match is a token that was found. Members that are not known are ignored: GitHub may add
// some.
type match struct {
	Token string `json:"token"`
	Type  string `json:"type"`
	URL   string `json:"url"`
}

// Labels are what GitHub is told of a match.
type label string

const (
	truePositive  label = "true_positive"  // it is the token of a key, active or not
	falsePositive label = "false_positive" // no key has it
)

// feedback is the answer for one match. The token goes back as its hash, in hexadecimal.
type feedback struct {
	TokenHash string `json:"token_hash"`
	TokenType string `json:"token_type"`
	Label     label  `json:"label"`
}

func parseReport(body []byte) (matches []match, err error) {
	if err := json.Unmarshal(body, &matches); err != nil {
		return nil, err
	}
	if matches == nil {
		return nil, errors.New("null instead of an array")
	}
	return matches, nil
}

// atOnce is how many matches of a report are handled at a time: a large one must be done
// before GitHub stops waiting.
const atOnce = 16

// handle handles the matches of a report, and returns an answer for each. If it fails, some
// may have been handled; to handle them again does no harm.
func (h *Handler) handle(ctx context.Context, keys Keys, matches []match, remoteIP string) ([]feedback, error) {
	answers := make([]feedback, len(matches))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, m := range matches {
		group.Go(func() error {
			found, err := h.handleOne(ctx, keys, m, remoteIP)
			digest := sha256.Sum256([]byte(m.Token))
			answers[i] = feedback{TokenHash: hex.EncodeToString(digest[:]), TokenType: m.Type, Label: found}
			return err
		})
	}
	return answers, group.Wait()
}

func (h *Handler) handleOne(ctx context.Context, keys Keys, m match, remoteIP string) (label, error) {
	token, ok := apikey.ParseAnyToken(m.Token, h.TokenPrefix, keys.Prefixes())
	if !ok {
		return falsePositive, nil
	}
	key, err := keys.Lookup(token.Digest())
	if errors.Is(err, apikey.ErrNotFound) {
		return falsePositive, nil
	}
	if err != nil {
		return "", err
	}
	now := h.Now()
	_, err = keys.Apply(ctx, apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: Source, RemoteIP: remoteIP,
		Do: apikey.Leak{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Source: Source, URL: apikey.PublicURL(m.URL), Revoke: h.Revoke},
	})
	if errors.Is(err, apikey.ErrNotFound) { // it has been deleted at this moment
		return falsePositive, nil
	}
	return truePositive, err
}
