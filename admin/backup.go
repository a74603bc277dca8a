package admin

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

// file is an answer that is read while it is sent.
type file struct {
	content io.ReadSeekCloser
	name    string
}

// sendTimeout is how long a client may take for the next piece of a file, or of a
// body.
const sendTimeout = time.Minute

// send answers with a file, for as long as somebody takes it: the server's own
// time for an answer was not meant for one.
func (h *Handler) send(w http.ResponseWriter, r *http.Request, sent file) {
	defer sent.content.Close()
	size, err := sent.content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = sent.content.Seek(0, io.SeekStart)
	}
	if err != nil {
		h.refuse(w, r, "", err)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Type", backupType)
	header.Set("Content-Disposition", `attachment; filename="`+sent.name+`"`)
	header.Set("Content-Length", strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	control := http.NewResponseController(w)
	for err == nil {
		_ = control.SetWriteDeadline(time.Now().Add(sendTimeout))
		_, err = io.CopyN(w, sent.content, 1<<20)
	}
}

// patient is a body that may take long, as long as it goes on.
type patient struct {
	io.ReadCloser
	control *http.ResponseController
}

func (p patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(sendTimeout))
	return p.ReadCloser.Read(b)
}

// takeBackup answers with all that is in the store. A store that cannot note that
// any more is the one that most needs it: then the log has it.
func (h *Handler) takeBackup(r *http.Request) (int, any, error) {
	now := h.now()
	_, err := h.apply(r, now, apikey.Backup{})
	switch {
	case errors.Is(err, apikey.ErrStoreUnavailable), errors.Is(err, apikey.ErrNoSpace):
		h.Log.Warn("a backup is taken which the audit trail does not have", zap.String("actor", h.actor(r)), zap.Error(err))
	case err != nil:
		return 0, nil, err
	}
	content, err := h.Keys().Backup(r.Context(), now)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, file{content, "api-keys-" + now.Format("20060102T150405Z") + ".backup"}, nil
}

// RestoreAnswer says what came of a restore.
type RestoreAnswer struct {
	Restored Restored `json:"restored"`
	// Warning says what the operator has to see to, if there is anything.
	Warning string `json:"warning,omitzero"`
}

// Restored is what a restore did.
type Restored struct {
	MadeAt      time.Time `json:"made_at"`     // when the backup was made
	Keys        int       `json:"keys"`        // that were added
	Known       int       `json:"known"`       // that were there already
	Revoked     int       `json:"revoked"`     // of the known ones, those that the backup knew to be revoked
	Renamed     int       `json:"renamed"`     // of the added ones, those whose name another key has
	Suspended   int       `json:"suspended"`   // workspaces that were suspended in the backup
	Quarantined int       `json:"quarantined"` // workspaces that were suspended until somebody has reviewed them
	Events      int       `json:"events"`      // of the audit trail, that were added
}

// restoreBackup adds what is in a backup and not in the store.
func (h *Handler) restoreBackup(r *http.Request) (int, any, error) {
	query, err := queryOf(r, "quarantine")
	if err != nil {
		return 0, nil, err
	}
	quarantine := query.Get("quarantine")
	if query.Has("quarantine") && quarantine != "true" && quarantine != "false" {
		return 0, nil, errInvalidQuarantine
	}
	if r.Header.Get("Content-Encoding") != "" {
		return 0, nil, errNoBackup
	}
	now := h.now()
	done, err := h.Keys().Restore(r.Context(), r.Body, apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: h.actor(r), RemoteIP: h.RemoteIP(r),
	}, apikey.Restore{Quarantine: quarantine == "true"}, io.Discard)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, NewRestoreAnswer(done), nil
}

// NewRestoreAnswer says what came of a restore, and what is to be seen to.
func NewRestoreAnswer(done apikey.Restored) RestoreAnswer {
	answer := RestoreAnswer{Restored: Restored{
		MadeAt: done.MadeAt, Keys: done.Keys, Known: done.Known, Revoked: done.Revoked, Renamed: done.Renamed,
		Suspended: done.Suspended, Quarantined: done.Quarantined, Events: done.Events,
	}}
	var warnings []string
	if done.Unverified {
		warnings = append(warnings, "The backup is signed, which was not verified, because there is no backup_key to verify it with.")
	}
	if done.WasEmpty && done.Keys+done.Known > 0 {
		warning := "The store was empty. Keys that were revoked after " + done.MadeAt.Format(time.RFC3339) + ", when the backup was made, are valid in it: revoke them again."
		if done.Quarantined > 0 {
			warning = "The store was empty, and does not know what was revoked after " + done.MadeAt.Format(time.RFC3339) + ", when the backup was made. Every workspace with keys that are not revoked is suspended: review each, and resume it."
		}
		warnings = append(warnings, warning)
	}
	answer.Warning = strings.Join(warnings, " ")
	return answer
}
