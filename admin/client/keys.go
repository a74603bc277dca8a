package client

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Presets: what a key may do. A key's preset never changes.
const (
	FullAccess = "full_access" // read and write
	ReadOnly   = "read_only"
)

// Statuses of a key. The gateway accepts only active keys.
const (
	Active  = "active"
	Expired = "expired"
	Revoked = "revoked"
)

// Key describes a key. It never contains the token. Times are UTC, to the
// millisecond; a nil pointer means "not", "never" or "nobody".
type Key struct {
	// ID begins with "key_". Ids sort by the time of creation.
	ID string `json:"id"`
	// WorkspaceID is the workspace that the key belongs to. It is case-sensitive.
	WorkspaceID string `json:"workspace_id"`
	// Name says which system uses the key. It has 3 to 80 characters, and is unique
	// among the active keys of the workspace.
	Name string `json:"name"`
	// Owner says who answers for the key, in at most 80 characters; "" for nobody.
	Owner string `json:"owner"`
	// Preset is [FullAccess] or [ReadOnly].
	Preset string `json:"preset"`
	// Abilities spell the preset out: "read", and "write" for full access.
	Abilities []string `json:"abilities"`
	// TokenHint is the token's prefix and its last four characters: agk_…x7Qz. For an
	// imported key, it is what the import said, or "".
	TokenHint string `json:"token_hint"`
	// Status is [Active], [Expired] or [Revoked].
	Status string `json:"status"`
	// CreatedAt is when the key was created.
	CreatedAt time.Time `json:"created_at"`
	// CreatedBy is who created it, as the mount identifies them.
	CreatedBy string `json:"created_by"`
	// ExpiresAt is when the key expires, or expired. It never changes.
	ExpiresAt time.Time `json:"expires_at"`
	// LastUsedAt is when the key was last used, to within last_used_resolution (a
	// minute, unless the operator has changed it). Refused requests count too.
	LastUsedAt *time.Time `json:"last_used_at"`
	// RevokesAt is when the gateway will revoke a key that was replaced.
	RevokesAt *time.Time `json:"revokes_at"`
	// RevokedAt is when the key was revoked, by a person, or at RevokesAt.
	RevokedAt *time.Time `json:"revoked_at"`
	// RevokedBy is who revoked it, as the mount identifies them.
	RevokedBy *string `json:"revoked_by"`
	// RevokeReason is why, in at most 500 characters; nil if no reason was given.
	RevokeReason *string `json:"revoke_reason"`
	// Replaces is the id of the key that this one replaces.
	Replaces *string `json:"replaces"`
	// ReplacedBy is the id of the key that replaces this one.
	ReplacedBy *string `json:"replaced_by"`
	// ExposedAt is when the key was first used from a browser, where anybody can
	// read it.
	ExposedAt *time.Time `json:"exposed_at"`
	// LeakedAt is when the key's token was first reported as found in public. It is left
	// out of the JSON of a key for which that never happened.
	LeakedAt *time.Time `json:"leaked_at,omitempty"`
}

// NewKey is a key that was just created.
type NewKey struct {
	// Key describes the key.
	Key Key `json:"key"`
	// Token is the secret, 53 characters with the default prefix. It cannot be
	// retrieved again.
	Token string `json:"token"`
}

// CreateRequest asks for a new key.
type CreateRequest struct {
	// Name says which system uses the key, and in which environment. It has 3 to 80
	// characters after trimming, none of them invisible or a control character, and
	// is not vague ("test"), unless the operator allows that. Required.
	Name string `json:"name"`
	// Owner says who answers for the key, in at most 80 characters. Default: nobody.
	Owner string `json:"owner,omitzero"`
	// Preset is [FullAccess] or [ReadOnly]. Required.
	Preset string `json:"preset"`
	// ExpiresIn is how long the key lives: "30d", "36h", "1d12h". It is more than
	// zero, and at most what the operator allows, which is the default.
	ExpiresIn *string `json:"expires_in,omitzero"`
}

// UpdateRequest changes a key's name, owner, or both. A nil field stays as it is.
type UpdateRequest struct {
	// Name is as in [CreateRequest].
	Name *string `json:"name,omitzero"`
	// Owner is as in [CreateRequest]. A pointer to "" removes it.
	Owner *string `json:"owner,omitzero"`
}

// RotateRequest asks for a replacement of a key.
type RotateRequest struct {
	// Name is the replacement's name. Default: that of the old key.
	Name *string `json:"name,omitzero"`
	// Owner is the replacement's owner. Default: that of the old key.
	Owner *string `json:"owner,omitzero"`
	// RevokeOldIn is how long the old key stays active: "24h", or "0s" to revoke it
	// immediately. Default: until it expires.
	RevokeOldIn *string `json:"revoke_old_in,omitzero"`
}

// Rotation is a replacement, and the key that it replaces.
type Rotation struct {
	// Key is the replacement.
	Key Key `json:"key"`
	// Token is the replacement's secret. It cannot be retrieved again.
	Token string `json:"token"`
	// Replaced is the old key. Its RevokesAt is when it will be revoked.
	Replaced Key `json:"replaced"`
	// Propagation is how far the change to the old key has reached.
	Propagation Propagation `json:"propagation"`
}

// Revocation is a key that was revoked, and how far that has reached.
type Revocation struct {
	// Key is the revoked key.
	Key Key `json:"key"`
	// Propagation is how far the revocation has reached.
	Propagation Propagation `json:"propagation"`
}

// Uses are the first and the last use of a key.
type Uses struct {
	// FirstAt is when the key was first used, to within two seconds. It is also nil
	// for a key that was first used under a version that did not record it.
	FirstAt *time.Time `json:"first_at"`
	// LastAt is as [Key.LastUsedAt].
	LastAt *time.Time `json:"last_at"`
	// LastFrom is the IP address of a client that used the key then.
	LastFrom *string `json:"last_from"`
}

// ListOptions selects keys. The zero value selects the first page of all keys.
type ListOptions struct {
	// Status is [Active], [Expired], [Revoked], or "" for keys of every status.
	Status string
	// Query is text that the name, owner, id or token hint contains, ignoring case;
	// "" for any.
	Query string
	// Limit is as in [PageOptions].
	Limit int
	// Cursor is as in [PageOptions].
	Cursor string
}

// KeyPage is a page of keys, newest first within a workspace.
type KeyPage struct {
	// Keys may have fewer entries than the limit, or none, although more pages
	// follow: for a page, the gateway examines at most 5000 keys.
	Keys []Key `json:"keys"`
	// NextCursor is the Cursor of the next page, and nil on the last.
	NextCursor *string `json:"next_cursor"`
}

type keyAnswer struct {
	Key Key `json:"key"`
}

type usesAnswer struct {
	Uses *Uses `json:"uses"`
}

func (a *keyAnswer) served() bool  { return a.Key.ID != "" }
func (a *NewKey) served() bool     { return a.Key.ID != "" && a.Token != "" }
func (a *Rotation) served() bool   { return a.Key.ID != "" && a.Token != "" }
func (a *Revocation) served() bool { return a.Key.ID != "" }
func (a *KeyPage) served() bool    { return a.Keys != nil }
func (a *usesAnswer) served() bool { return a.Uses != nil }

// CreateKey creates a key. It is refused with [CodeNameTaken], [CodeTooManyKeys],
// or the code of the field at fault.
func (c *Client) CreateKey(ctx context.Context, ws string, request CreateRequest) (created NewKey, err error) {
	path, err := workspacePath(ws, "/keys")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, request, &created)
	}
	return created, err
}

// ListKeys returns a page of a workspace's keys.
func (c *Client) ListKeys(ctx context.Context, ws string, options ListOptions) (page KeyPage, err error) {
	path, err := workspacePath(ws, "/keys")
	if err == nil {
		path = withQuery(path, map[string]string{
			"status": options.Status, "q": options.Query, "limit": positive(options.Limit), "cursor": options.Cursor,
		})
		err = c.call(ctx, http.MethodGet, path, nil, &page)
	}
	return page, err
}

// AllKeys returns all keys of a workspace with a status, or with any if it is "",
// newest first. It reads them page by page; an error ends it.
func (c *Client) AllKeys(ctx context.Context, ws, status string) iter.Seq2[Key, error] {
	return all(func(o PageOptions) ([]Key, *string, error) {
		page, err := c.ListKeys(ctx, ws, ListOptions{Status: status, Limit: o.Limit, Cursor: o.Cursor})
		return page.Keys, page.NextCursor, err
	})
}

// ShowKey returns one key. A key of another workspace is [CodeNotFound].
func (c *Client) ShowKey(ctx context.Context, ws, id string) (Key, error) {
	return c.key(ctx, http.MethodGet, ws, id, "", nil)
}

// UpdateKey renames an active key, or gives it another owner. Nothing else about a
// key can be changed.
func (c *Client) UpdateKey(ctx context.Context, ws, id string, request UpdateRequest) (Key, error) {
	return c.key(ctx, http.MethodPatch, ws, id, "", request)
}

// RevokeKey revokes a key: once it has returned, no request with the key passes.
// The reason, at most 500 characters, is for the audit trail, and may be "".
// Revoking a revoked key changes nothing and succeeds.
func (c *Client) RevokeKey(ctx context.Context, ws, id, reason string) (revocation Revocation, err error) {
	path, err := keyPath(ws, id, "/revoke")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, reasonRequest{reason}, &revocation)
	}
	return revocation, err
}

// RotateKey creates a replacement for an active key, with the same preset and a
// full lifetime. It is refused with [CodeAlreadyRotated] while the key has a live
// replacement.
func (c *Client) RotateKey(ctx context.Context, ws, id string, request RotateRequest) (rotation Rotation, err error) {
	path, err := keyPath(ws, id, "/rotate")
	if err == nil {
		err = c.call(ctx, http.MethodPost, path, request, &rotation)
	}
	return rotation, err
}

// ShowUses returns when a key was first and last used. Once a replacement has been
// used, it has reached the system that it was made for.
func (c *Client) ShowUses(ctx context.Context, ws, id string) (Uses, error) {
	path, err := keyPath(ws, id, "/uses")
	if err != nil {
		return Uses{}, err
	}
	var answer usesAnswer
	if err := c.call(ctx, http.MethodGet, path, nil, &answer); err != nil {
		return Uses{}, err
	}
	return *answer.Uses, nil
}

// LookUpToken returns the key of a token, such as one that was found in public. The
// look-up is recorded in the audit trail. The token of no key is [CodeNotFound].
func (c *Client) LookUpToken(ctx context.Context, token string) (Key, error) {
	var answer keyAnswer
	err := c.call(ctx, http.MethodPost, "/tokens/lookup", tokenRequest{Token: token}, &answer)
	return answer.Key, err
}

// RevokeToken revokes the key of a token, as [Client.RevokeKey] does.
func (c *Client) RevokeToken(ctx context.Context, token, reason string) (revocation Revocation, err error) {
	err = c.call(ctx, http.MethodPost, "/tokens/revoke", tokenRequest{token, reason}, &revocation)
	return revocation, err
}

type reasonRequest struct {
	Reason string `json:"reason,omitzero"`
}

type tokenRequest struct {
	Token  string `json:"token"`
	Reason string `json:"reason,omitzero"`
}

// key makes a call about one key that returns the key.
func (c *Client) key(ctx context.Context, method, ws, id, below string, body any) (Key, error) {
	path, err := keyPath(ws, id, below)
	if err != nil {
		return Key{}, err
	}
	var answer keyAnswer
	err = c.call(ctx, method, path, body, &answer)
	return answer.Key, err
}
