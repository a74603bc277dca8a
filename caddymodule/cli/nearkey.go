package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// unknownKey adds to the refusal of an id that is no key's which key may be meant: it is
// of another workspace, its name was given instead, a character was mistyped, or the end
// is missing.
func (t *terminal) unknownKey(ctx context.Context, ws, id string, err error) error {
	refusal, ok := errors.AsType[*client.Error](err)
	if !ok || refusal.Code != client.CodeNotFound {
		return err
	}
	return &client.Error{StatusCode: refusal.StatusCode, Code: refusal.Code, Message: refusal.Message + t.whichKey(ctx, ws, id)}
}

// whichKey says as another sentence which key may be meant; "" if it cannot be told.
func (t *terminal) whichKey(ctx context.Context, ws, id string) string {
	if ws != "" {
		if elsewhere, err := t.client.FindKey(ctx, id); err == nil {
			return fmt.Sprintf(" It is a key of %s.", elsewhere.WorkspaceID)
		}
	}
	if near, ok := t.nearKey(ctx, ws, id); ok {
		return fmt.Sprintf(" Did you mean %s, %s?", near.ID, near.Name)
	}
	return ""
}

// nearKey returns the only key of a workspace, or of all if ws is "", that has a text in its name, or the first
// or the second half of it in its id.
func (t *terminal) nearKey(ctx context.Context, ws, text string) (client.Key, bool) {
	if inAddress(text) != text {
		return client.Key{}, false
	}
	const least = 12 // characters that tell keys of the same hour apart
	half := max(len(text)/2, least)
	var parts []string
	if !strings.HasPrefix(text, "key_") {
		parts = append(parts, text)
	}
	if len(text) >= half {
		parts = append(parts, text[:half], text[len(text)-half:])
	}
	for _, part := range parts {
		found, err := t.search(ctx, ws, client.FindOptions{Query: part, Limit: 2})
		if err == nil && len(found.Keys) == 1 && found.NextCursor == nil {
			return found.Keys[0], true
		}
	}
	return client.Key{}, false
}

// search returns keys of a workspace, or of all if ws is "".
func (t *terminal) search(ctx context.Context, ws string, options client.FindOptions) (client.KeyPage, error) {
	if ws == "" {
		return t.client.FindKeys(ctx, options)
	}
	return t.client.ListKeys(ctx, ws, client.ListOptions{Status: options.Status, Query: options.Query, Limit: options.Limit})
}
