package client

import (
	"context"
	"iter"
	"net/http"
)

// FindOptions selects keys of all workspaces. The zero value selects the first page of
// all keys.
type FindOptions struct {
	// Query is as in [ListOptions].
	Query string
	// Status is as in [ListOptions].
	Status string
	// ExpiresWithin selects active keys that will end within this time, such as "14d" or
	// "36h", because they expire or their revocation is scheduled. With a Status other
	// than [Active], there are none. Default: whenever they end.
	ExpiresWithin string
	// Limit is as in [PageOptions].
	Limit int
	// Cursor is as in [PageOptions].
	Cursor string
}

// FindKeys returns a page of the keys of all workspaces, in the order of the workspaces'
// ids, and newest first within a workspace. The mount must not be pinned to a workspace.
func (c *Client) FindKeys(ctx context.Context, options FindOptions) (page KeyPage, err error) {
	path := withQuery("/keys", map[string]string{
		"q": options.Query, "status": options.Status, "expires_within": options.ExpiresWithin,
		"limit": positive(options.Limit), "cursor": options.Cursor,
	})
	err = c.call(ctx, http.MethodGet, path, nil, &page)
	return page, err
}

// AllFoundKeys returns all keys that options select, from their Cursor on; their Limit is
// not used. It reads them page by page; an error ends it.
func (c *Client) AllFoundKeys(ctx context.Context, options FindOptions) iter.Seq2[Key, error] {
	return all(func(o PageOptions) ([]Key, *string, error) {
		next := options
		next.Limit = o.Limit
		if o.Cursor != "" {
			next.Cursor = o.Cursor
		}
		page, err := c.FindKeys(ctx, next)
		return page.Keys, page.NextCursor, err
	})
}

// FindKey returns the key with an id, whichever workspace it belongs to. An unknown id is
// [CodeNotFound]. The mount must not be pinned to a workspace.
func (c *Client) FindKey(ctx context.Context, id string) (Key, error) {
	if !keyID.MatchString(id) {
		return Key{}, errKeyID(id)
	}
	var answer keyAnswer
	err := c.call(ctx, http.MethodGet, "/keys/"+id, nil, &answer)
	return answer.Key, err
}
