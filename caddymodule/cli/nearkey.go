package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// unknownKey adds to the refusal of an id that is no key's which key may be meant:
// one character of it was mistyped, or its end is missing.
func (t *terminal) unknownKey(ctx context.Context, ws, id string, err error) error {
	refusal, ok := errors.AsType[*client.Error](err)
	if !ok || refusal.Code != client.CodeNotFound {
		return err
	}
	near, ok := t.nearKey(ctx, ws, id)
	if !ok {
		return err
	}
	return &client.Error{StatusCode: refusal.StatusCode, Code: refusal.Code, Message: refusal.Message + fmt.Sprintf(" Did you mean %s, %s?", near.ID, near.Name)}
}

// nearKey returns the only key of a workspace that has the first or the second half of
// an id in its own.
func (t *terminal) nearKey(ctx context.Context, ws, id string) (client.Key, bool) {
	const least = 12 // characters that tell keys of the same hour apart
	half := max(len(id)/2, least)
	if len(id) < half {
		return client.Key{}, false
	}
	for _, part := range []string{id[:half], id[len(id)-half:]} {
		found, err := t.client.ListKeys(ctx, ws, client.ListOptions{Query: part, Limit: 2})
		if err == nil && len(found.Keys) == 1 && found.NextCursor == nil {
			return found.Keys[0], true
		}
	}
	return client.Key{}, false
}
