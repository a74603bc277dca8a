package client

import (
	"context"
	"io"
	"net/http"
	"time"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

// Backup is a backup that is being received. The caller must close it. Reading it
// fails with [io.ErrUnexpectedEOF] if it was cut off: what was read until then is
// not a valid backup.
type Backup struct {
	io.ReadCloser
	// Size is the size of the backup in bytes.
	Size int64
}

// Backup takes a consistent backup of all keys, suspensions, uses, calendar feeds
// and the audit trail. It contains no tokens. The context applies to reading it
// too; no timeout does.
func (c *Client) Backup(ctx context.Context) (*Backup, error) {
	request, err := c.request(ctx, http.MethodGet, "/backup", nil)
	if err != nil {
		return nil, err
	}
	response, err := c.withoutTimeout().Do(request)
	if err != nil {
		return nil, err
	}
	err = refused(response)
	if err == nil && (response.Header.Get("Content-Type") != backupType || response.ContentLength < 0) {
		err = ErrNotServed
	}
	if err != nil {
		_ = response.Body.Close()
		return nil, err
	}
	return &Backup{response.Body, response.ContentLength}, nil
}

// RestoreOptions control how a backup is restored.
type RestoreOptions struct {
	// Size is the size of the backup in bytes, or 0 if it is not known.
	Size int64
	// Quarantine suspends every workspace that has unrevoked keys in the backup,
	// until somebody has reviewed and resumed it: keys may have been revoked after the
	// backup, which a lost store no longer shows.
	Quarantine bool
}

// Restoration is the result of a restore.
type Restoration struct {
	// Restored counts what was restored.
	Restored Restored `json:"restored"`
	// Warning is what the operator must do next; "" if nothing.
	Warning string `json:"warning,omitzero"`
}

// Restored counts what a restore did.
type Restored struct {
	// MadeAt is when the backup was taken.
	MadeAt time.Time `json:"made_at"`
	// Keys is how many keys were added.
	Keys int `json:"keys"`
	// Known is how many keys of the backup already existed.
	Known int `json:"known"`
	// Revoked is how many existing keys were revoked because the backup has them as
	// revoked.
	Revoked int `json:"revoked"`
	// Renamed is how many of the added keys got another name because another active
	// key has theirs.
	Renamed int `json:"renamed"`
	// Suspended is how many workspaces are suspended again, as in the backup.
	Suspended int `json:"suspended"`
	// Quarantined is how many workspaces were suspended for review.
	Quarantined int `json:"quarantined"`
	// Events is how many events were added to the audit trail.
	Events int `json:"events"`
}

func (a *Restoration) served() bool { return !a.Restored.MadeAt.IsZero() }

// Restore adds what is in a backup and not in the store. Later changes are kept,
// and no revoked key becomes active again. The gateway reads the whole backup and
// verifies it before it changes anything, and refuses an invalid one with
// [CodeInvalidBackup]. No timeout applies to the call. Restore does not close the
// backup; after an error, it may still be read from for a moment.
func (c *Client) Restore(ctx context.Context, backup io.Reader, options RestoreOptions) (restoration Restoration, err error) {
	path := "/restore"
	if options.Quarantine {
		path += "?quarantine=true"
	}
	request, err := c.request(ctx, http.MethodPost, path, nil)
	if err != nil {
		return restoration, err
	}
	request.Body, request.ContentLength = io.NopCloser(backup), options.Size
	if options.Size == 0 {
		request.ContentLength = -1
	}
	request.Header.Set("Content-Type", backupType)
	err = receive(c.withoutTimeout(), request, &restoration)
	return restoration, err
}
