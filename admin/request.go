package admin

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// now returns the time as it is stored: UTC, to the millisecond.
func (h *Handler) now() time.Time { return h.Now().UTC().Truncate(time.Millisecond) }

// maxActor is how many characters are kept of who sent a request.
const maxActor = 200

// actor returns who sent a request. A mount may have it from a header, in which
// any byte can stand, and any number of them, or none.
func (h *Handler) actor(r *http.Request) string {
	printable := func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return unicode.ReplacementChar
	}
	actor := []rune(strings.Map(printable, strings.TrimSpace(h.Actor(r))))
	if len(actor) == 0 {
		return "unknown"
	}
	if apikey.HoldsToken(string(actor)) {
		return "a token, which is not kept"
	}
	return string(actor[:min(len(actor), maxActor)])
}

// apply makes a change in the name of whoever sent the request.
func (h *Handler) apply(r *http.Request, now time.Time, do apikey.Action) (apikey.Outcome, error) {
	return h.Keys().Apply(r.Context(), apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: h.actor(r), RemoteIP: h.RemoteIP(r), Do: do,
	})
}

// workspaceOf returns the workspace that a call is about.
func workspaceOf(r *http.Request) (string, error) {
	ws := r.PathValue("ws")
	return ws, apikey.ValidateWorkspaceID(ws)
}

// keyOf returns the workspace and the key that a call is about.
func keyOf(r *http.Request) (ws, id string, err error) {
	if ws, err = workspaceOf(r); err != nil {
		return "", "", err
	}
	if id = r.PathValue("id"); !apikey.ValidKeyID(id) {
		return "", "", apikey.ErrNotFound
	}
	return ws, id, nil
}

// reasonOf returns the reason that the body of a call gives, if any.
func reasonOf(r *http.Request) (string, error) {
	var request ReasonRequest
	if err := decode(r, &request); err != nil {
		return "", err
	}
	return apikey.ParseReason(request.Reason)
}

// parameter returns a parameter of the query. One that stands twice, like a
// query that cannot be read, is refused: which of the two counts, two readers
// could see differently.
func parameter(r *http.Request, name string, refusal *apikey.Error) (value string, given bool, err error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query[name]) > 1 {
		return "", false, refusal
	}
	return query.Get(name), query.Has(name), nil
}

// pageOf returns which page of a list a call wants.
func pageOf(r *http.Request, valid func(id string) bool) (apikey.Page, error) {
	page := apikey.Page{Limit: defaultLimit}
	limit, given, err := parameter(r, "limit", errInvalidLimit)
	if err != nil {
		return apikey.Page{}, err
	}
	if given {
		n, err := strconv.Atoi(limit)
		if err != nil || n < 1 || n > maxLimit || limit != strconv.Itoa(n) {
			return apikey.Page{}, errInvalidLimit
		}
		page.Limit = n
	}
	cursor, _, err := parameter(r, "cursor", apikey.ErrInvalidCursor)
	if err != nil {
		return apikey.Page{}, err
	}
	if cursor != "" {
		id, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
		if err != nil || !valid(string(id)) {
			return apikey.Page{}, apikey.ErrInvalidCursor
		}
		page.After = string(id)
	}
	return page, nil
}

// cursorFor returns the cursor of the page after the given id. A cursor is the
// id, made opaque so that nobody builds one; it is checked against the list
// that it is used for, and so gives access to nothing.
func cursorFor(id string) *string {
	if id == "" {
		return nil
	}
	cursor := base64.RawURLEncoding.EncodeToString([]byte(id))
	return &cursor
}
