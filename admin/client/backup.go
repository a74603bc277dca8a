package client

import (
	"context"
	"io"
	"net/http"
	"time"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

// Backup is a backup that is being received. The caller has to close it. Reading it
// fails with [io.ErrUnexpectedEOF] if it breaks off: what was read until then is no
// backup.
type Backup struct {
	io.ReadCloser
	// Size is how long the backup is, in bytes.
	Size int64
}

// Backup takes a backup of all keys, suspensions, uses, calendar feeds and the audit
// trail, as they are at one instant. It holds no tokens. The context bounds reading
// it as well; no timeout does.
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

// RestoreOptions say how a backup is restored.
type RestoreOptions struct {
	// Size is how long the backup is, in bytes; 0 if that is not known.
	Size int64
	// Quarantine suspends every workspace that has keys in the backup which are not
	// revoked, to be reviewed and resumed: a store that was lost does not know what
	// was revoked after the backup.
	Quarantine bool
}

// Restoration is what came of a restore.
type Restoration struct {
	Restored Restored `json:"restored"`
	// Warning says what the operator has to do now; "" if there is nothing.
	Warning string `json:"warning,omitzero"`
}

// Restored counts what a restore did.
type Restored struct {
	// MadeAt is when the backup was taken.
	MadeAt time.Time `json:"made_at"`
	// Keys is how many keys were added.
	Keys int `json:"keys"`
	// Known is how many keys of the backup were there already.
	Known int `json:"known"`
	// Revoked is how many of the known keys were revoked, because the backup knew
	// them to be.
	Revoked int `json:"revoked"`
	// Renamed is how many of the added keys have another name now, because another
	// active key has theirs.
	Renamed int `json:"renamed"`
	// Suspended is how many workspaces are suspended again, as in the backup.
	Suspended int `json:"suspended"`
	// Quarantined is how many workspaces were suspended to be reviewed.
	Quarantined int `json:"quarantined"`
	// Events is how many events were added to the audit trail.
	Events int `json:"events"`
}

func (a *Restoration) served() bool { return !a.Restored.MadeAt.IsZero() }

// Restore adds what is in a backup and not in the store. What was changed after the
// backup stays as it is, and no revoked key is active again. The gateway reads the
// backup to its end and checks it before it changes anything; one that it refuses is
// [CodeInvalidBackup]. No timeout bounds the call. Restore does not close the
// backup; where it fails, the backup may still be read from for a moment.
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
