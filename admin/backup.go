package admin

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// backupType is the media type of a backup.
const backupType = "application/octet-stream"

// file is a response that is streamed.
type file struct {
	content io.ReadSeekCloser
	name    string
}

// sendTimeout is how long a client may take for the next piece of a file, or of a
// body.
const sendTimeout = time.Minute

// send responds with a file for as long as the client keeps reading: the server's
// write timeout was not chosen for such a response.
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
	setPrivate(header)
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

// extendedBody is a request body that may take as long as it needs, as long as
// there is progress: every read extends the deadline.
type extendedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b extendedBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(sendTimeout))
	n, err := b.ReadCloser.Read(p)
	// What was read may take long to be worked on. Over HTTP/2, a deadline that passes in the
	// meantime ends the body; after the end of the body, it looks to the server as if the
	// client had hung up.
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}

// takeBackup responds with a backup of the whole store. A store that can no longer
// record the event is the one that most needs a backup: the log records it then.
func (h *Handler) takeBackup(r *http.Request) (int, any, error) {
	now := h.now()
	_, err := h.apply(r, now, apikey.Backup{})
	switch {
	case errors.Is(err, apikey.ErrStoreUnavailable), errors.Is(err, apikey.ErrNoSpace):
		h.Log.Warn("could not record a backup in the audit trail; taking it anyway", zap.String("actor", h.actor(r)), zap.Error(err))
	case err != nil:
		return 0, nil, err
	}
	content, err := h.keys().Backup(r.Context(), now)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, file{content, "api-keys-" + now.Format("20060102T150405Z") + ".backup"}, nil
}

// restoreBackup adds records that are in a backup but not in the store.
func (h *Handler) restoreBackup(r *http.Request) (int, any, error) {
	quarantine, err := flagOf(r, "quarantine")
	if err != nil {
		return 0, nil, err
	}
	if r.Header.Get("Content-Encoding") != "" {
		return 0, nil, errNoBackup
	}
	now := h.now()
	done, err := h.keys().Restore(r.Context(), r.Body, apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: h.actor(r), RemoteIP: h.RemoteIP(r),
	}, apikey.Restore{Quarantine: quarantine}, io.Discard)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, present.Restoration(done), nil
}
