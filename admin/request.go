package admin

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

const (
	defaultLimit = 50
	maxLimit     = 200
)

// now returns the time as it is stored: UTC, to the millisecond.
func (h *Handler) now() time.Time { return h.Clock().Judged.UTC().Truncate(time.Millisecond) }

// actor returns who sent a request. A mount may take it from a header, which may be
// missing, too long, or contain anything.
func (h *Handler) actor(r *http.Request) string {
	actor := []rune(apikey.Visible(strings.TrimSpace(h.Actor(r))))
	if len(actor) == 0 {
		return "unknown"
	}
	if apikey.HoldsToken(string(actor)) {
		return "a token, which is not recorded"
	}
	return string(actor[:min(len(actor), apikey.MaxActor)])
}

// apply makes a change on behalf of the request's actor.
func (h *Handler) apply(r *http.Request, now time.Time, do apikey.Action) (apikey.Outcome, error) {
	return h.keys().Apply(r.Context(), apikey.Change{
		EventID: apikey.NewEventID(now), At: now, Actor: h.actor(r), RemoteIP: h.RemoteIP(r), Do: do, Unrecorded: isUnrecorded(r),
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
	var request reasonRequest
	if err := decode(r, &request); err != nil {
		return "", err
	}
	return apikey.ParseReason(request.Reason)
}

// queryOf returns the query parameters that a call takes. It refuses a query that
// cannot be parsed or has a parameter twice, of which two parsers could take
// different ones. The refusal names the parameter.
func queryOf(r *http.Request, names ...string) (url.Values, error) {
	query := make(url.Values)
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		parsed, err := url.ParseQuery(pair)
		name, _, _ := strings.Cut(pair, "=")
		if unescaped, nameErr := url.QueryUnescape(name); nameErr == nil {
			name = unescaped
		}
		switch known := slices.Contains(names, name); {
		case err != nil && !known:
			return nil, errInvalidQuery("")
		case known && (err != nil || query.Has(name)):
			return nil, invalidParameter(name)
		case known:
			query[name] = parsed[name]
		}
	}
	return query, nil
}

// flagOf returns the one query parameter of a call that changes something; false if it is
// missing. Any other parameter is refused: a misspelt one would not have the effect that the
// caller counts on.
func flagOf(r *http.Request, name string) (bool, error) {
	query, err := queryOf(r, name)
	if err != nil {
		return false, err
	}
	if given, err := url.ParseQuery(r.URL.RawQuery); err != nil || len(given) > len(query) {
		return false, &apikey.Error{Code: errInvalidQuery("").Code, Message: "This call takes no query parameter other than " + name + ". Nothing was changed."}
	}
	switch value := query.Get(name); {
	case !query.Has(name), value == "false":
		return false, nil
	case value == "true":
		return true, nil
	}
	return false, &apikey.Error{Code: errInvalidQuery("").Code, Field: name, Message: name + ` must be "true" or "false".`}
}

// asksDryRun reports whether a query asks, in any spelling, that nothing be changed.
func asksDryRun(query string) bool {
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		if unescaped, err := url.QueryUnescape(name); err == nil {
			name = unescaped
		}
		if strings.EqualFold(strings.NewReplacer("_", "", "-", "").Replace(name), "dryrun") {
			return true
		}
	}
	return false
}

// invalidParameter returns the refusal of a parameter's value.
func invalidParameter(name string) error {
	switch name {
	case "limit":
		return errInvalidLimit
	case "cursor":
		return apikey.ErrInvalidCursor
	case "days":
		return errInvalidDays
	case "keys":
		return errInvalidKeys
	case "status":
		return errInvalidStatus
	case "expires_within":
		return &apikey.Error{Code: apikey.ErrInvalidDuration.Code, Field: name, Message: apikey.ErrInvalidDuration.Message}
	}
	return errInvalidQuery(name)
}

// pageOf returns the requested page of the named list, whose ids must be valid.
func pageOf(query url.Values, list string, valid func(id string) bool) (apikey.Page, error) {
	page := apikey.Page{Limit: defaultLimit}
	if query.Has("limit") {
		limit, ok := numberIn(query.Get("limit"), maxLimit)
		if !ok {
			return apikey.Page{}, errInvalidLimit
		}
		page.Limit = limit
	}
	if cursor := query.Get("cursor"); cursor != "" {
		place, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
		id, ours := strings.CutPrefix(string(place), list+" ")
		if err != nil || !ours || !valid(id) {
			return apikey.Page{}, apikey.ErrInvalidCursor
		}
		page.After = id
	}
	return page, nil
}

// numberIn decodes a number from 1 to most, written as one usually is.
func numberIn(text string, most int) (n int, ok bool) {
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 1 && n <= most && text == strconv.Itoa(n)
}

// cursorFor returns the cursor of the page of a list after the given id. It is
// opaque, so that nobody constructs one, and contains the list's name, so that no
// other list accepts it. It grants no access.
func cursorFor(list, id string) *string {
	if id == "" {
		return nil
	}
	cursor := base64.RawURLEncoding.EncodeToString([]byte(list + " " + id))
	return &cursor
}
