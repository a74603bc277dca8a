package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Workspace is a workspace and its number of keys. A workspace need not be created:
// one that was never used has no keys.
type Workspace struct {
	// ID has 1 to 64 characters of A-Z, a-z, 0-9, '.', '_' and '-', and does not
	// begin with '.'.
	ID string `json:"id"`
	// Suspended means that all its keys are refused.
	Suspended bool `json:"suspended"`
	// SuspendedAt is when it was suspended, and nil if it is not.
	SuspendedAt *time.Time `json:"suspended_at"`
	// Reason is why it is suspended; nil if it is not, or if no reason was given.
	Reason *string `json:"reason"`
	// Keys counts its keys.
	Keys KeyCounts `json:"keys"`
}

// KeyCounts counts the keys of a workspace by status. Ended keys are kept for the
// operator's audit_retention.
type KeyCounts struct {
	// Active is how many keys have the status [Active]. While the workspace is
	// suspended, they are refused too.
	Active int `json:"active"`
	// Expired is how many keys have the status [Expired].
	Expired int `json:"expired"`
	// Revoked is how many keys have the status [Revoked].
	Revoked int `json:"revoked"`
}

// WorkspaceOptions selects workspaces. The zero value selects the first page of all.
type WorkspaceOptions struct {
	// Query is text that the id contains, ignoring case; "" for any.
	Query string
	// Limit is as in [PageOptions].
	Limit int
	// Cursor is as in [PageOptions].
	Cursor string
}

// WorkspacePage is a page of workspaces that have keys, of whatever status, or are
// suspended, in the order of their ids.
type WorkspacePage struct {
	// Workspaces may have fewer entries than the limit, or none, although more pages
	// follow: for a page, the gateway examines at most 5000 workspaces, and counts about
	// 20,000 keys.
	Workspaces []Workspace `json:"workspaces"`
	// NextCursor is the Cursor of the next page, and nil on the last.
	NextCursor *string `json:"next_cursor"`
}

// Suspension is a workspace that is suspended.
type Suspension struct {
	// WorkspaceID is the id of the workspace.
	WorkspaceID string `json:"workspace_id"`
	// SuspendedAt is when it was suspended, in UTC, to the millisecond.
	SuspendedAt time.Time `json:"suspended_at"`
	// Reason is why; "" if none was given.
	Reason string `json:"reason"`
}

// SuspensionPage is a page of suspended workspaces, shorter ids first, then in
// alphabetical order.
type SuspensionPage struct {
	// Suspensions are those of the page; empty if there are none.
	Suspensions []Suspension `json:"suspensions"`
	// NextCursor is the Cursor of the next page, and nil on the last.
	NextCursor *string `json:"next_cursor"`
}

// SuspendedWorkspace is a workspace that was suspended, and how far that has reached.
type SuspendedWorkspace struct {
	// Workspace is the suspended workspace.
	Workspace Workspace `json:"workspace"`
	// Propagation is how far the suspension has reached.
	Propagation Propagation `json:"propagation"`
}

// RevokedKeys is how many keys of a workspace were revoked, and how far that has
// reached.
type RevokedKeys struct {
	// Revoked is how many keys were revoked: those that were active.
	Revoked int `json:"revoked"`
	// Propagation is how far the revocations have reached.
	Propagation Propagation `json:"propagation"`
}

type workspaceAnswer struct {
	Workspace Workspace `json:"workspace"`
}

func (a *workspaceAnswer) served() bool    { return a.Workspace.ID != "" }
func (a *SuspendedWorkspace) served() bool { return a.Workspace.ID != "" }
func (a *WorkspacePage) served() bool      { return a.Workspaces != nil }
func (a *SuspensionPage) served() bool     { return a.Suspensions != nil }
func (a *RevokedKeys) served() bool        { return a.Propagation.State != "" }

// ListWorkspaces returns a page of workspaces.
func (c *Client) ListWorkspaces(ctx context.Context, options WorkspaceOptions) (page WorkspacePage, err error) {
	path := withQuery("/workspaces", map[string]string{"q": options.Query, "limit": positive(options.Limit), "cursor": options.Cursor})
	err = c.call(ctx, http.MethodGet, path, nil, &page)
	return page, err
}

// AllWorkspaces returns all workspaces whose ids contain a text, or all if it is "". It
// reads them page by page; an error ends it.
func (c *Client) AllWorkspaces(ctx context.Context, query string) iter.Seq2[Workspace, error] {
	return all(func(o PageOptions) ([]Workspace, *string, error) {
		page, err := c.ListWorkspaces(ctx, WorkspaceOptions{Query: query, Limit: o.Limit, Cursor: o.Cursor})
		return page.Workspaces, page.NextCursor, err
	})
}

// ShowWorkspace returns a workspace, whether it is suspended, and how many keys it
// has.
func (c *Client) ShowWorkspace(ctx context.Context, ws string) (Workspace, error) {
	return c.workspace(ctx, http.MethodGet, ws, "", nil)
}

// Suspend makes the gateway refuse every key of a workspace until it is resumed.
// The reason, at most 500 characters, is for the audit trail, and may be "".
// Suspending a suspended workspace changes nothing and succeeds.
func (c *Client) Suspend(ctx context.Context, ws, reason string) (suspended SuspendedWorkspace, err error) {
	path, err := workspacePath(ws, "/suspend")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, reasonRequest{reason}, &suspended)
	}
	return suspended, err
}

// Resume ends a suspension. The workspace's active keys are accepted again.
func (c *Client) Resume(ctx context.Context, ws string) (Workspace, error) {
	return c.workspace(ctx, http.MethodPost, ws, "/resume", nil)
}

// RevokeAll revokes every active key of a workspace, and those that ended less than ten minutes
// ago, which cannot be undone. It returns how many there were. The reason is required, and is
// for the audit trail.
func (c *Client) RevokeAll(ctx context.Context, ws, reason string) (revoked RevokedKeys, err error) {
	path, err := workspacePath(ws, "/revoke-all")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, reasonRequest{reason}, &revoked)
	}
	return revoked, err
}

// Suspensions returns a page of the workspaces that are suspended.
func (c *Client) Suspensions(ctx context.Context, options PageOptions) (page SuspensionPage, err error) {
	err = c.call(ctx, http.MethodGet, options.query("/suspensions"), nil, &page)
	return page, err
}

// AllSuspensions returns all workspaces that are suspended. It reads them page by
// page; an error ends it.
func (c *Client) AllSuspensions(ctx context.Context) iter.Seq2[Suspension, error] {
	return all(func(o PageOptions) ([]Suspension, *string, error) {
		page, err := c.Suspensions(ctx, o)
		return page.Suspensions, page.NextCursor, err
	})
}

// workspace makes a call about a workspace that returns the workspace.
func (c *Client) workspace(ctx context.Context, method, ws, below string, body any) (Workspace, error) {
	path, err := workspacePath(ws, below)
	if err != nil {
		return Workspace{}, err
	}
	var answer workspaceAnswer
	err = c.call(ctx, method, path, body, &answer)
	return answer.Workspace, err
}
