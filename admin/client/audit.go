package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Event is an entry of the audit trail: a change that was made, or that the store
// refused.
type Event struct {
	// ID begins with "evt_". Ids sort by time.
	ID string `json:"id"`
	// At is UTC, to the millisecond.
	At time.Time `json:"at"`
	// Actor is who requested it, as the mount identifies them.
	Actor string `json:"actor"`
	// RemoteIP is where the request came from; "" for a Unix socket.
	RemoteIP string `json:"remote_ip"`
	// Operation is create, update, rotate, revoke, revoke_all, suspend, resume,
	// lookup, expose, calendar_feed, calendar_feed_revoke, clock, backup, restore,
	// put_back, import or leak.
	Operation string `json:"operation"`
	// WorkspaceID is "" if the event is not about a single workspace.
	WorkspaceID string `json:"workspace_id"`
	// KeyID is "" if the event is not about a single key. For rotate it is the old
	// key.
	KeyID string `json:"key_id"`
	// Details depend on the operation: name, owner, preset, reason, replaced_by and
	// so on, as the API's description lists them. The member refused is the code of
	// a refusal; without it, the change was made. Numbers are float64.
	Details map[string]any `json:"details"`
}

// EventPage is a page of the audit trail, newest first.
type EventPage struct {
	// Events are the events of the page; empty if there are none.
	Events []Event `json:"events"`
	// NextCursor is the Cursor of the next page, and nil on the last.
	NextCursor *string `json:"next_cursor"`
}

func (a *EventPage) served() bool { return a.Events != nil }

// Events returns a page of the audit trail of a workspace, or of all workspaces if
// ws is "".
func (c *Client) Events(ctx context.Context, ws string, options PageOptions) (page EventPage, err error) {
	path := "/audit"
	if ws != "" {
		if path, err = workspacePath(ws, path); err != nil {
			return page, err
		}
	}
	err = c.call(ctx, http.MethodGet, options.query(path), nil, &page)
	return page, err
}

// AllEvents returns the whole audit trail of a workspace, or of all workspaces if ws
// is "", newest first. It reads page by page; an error ends it.
func (c *Client) AllEvents(ctx context.Context, ws string) iter.Seq2[Event, error] {
	return all(func(o PageOptions) ([]Event, *string, error) {
		page, err := c.Events(ctx, ws, o)
		return page.Events, page.NextCursor, err
	})
}
