package admin

import (
	"errors"
	"net/http"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// feedAnswer is the path of a workspace's calendar feed, relative to the mount. The
// path is the secret: it is shown only once.
type feedAnswer struct {
	Path string `json:"path"`
}

// feedRevokedAnswer says whether there was a feed to revoke.
type feedRevokedAnswer struct {
	Revoked bool `json:"revoked"`
}

// createFeed gives a workspace a calendar feed that can be read without
// credentials, by anyone who knows its path. It replaces the previous feed.
func (h *Handler) createFeed(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := decode(r, &struct{}{}); err != nil {
		return 0, nil, err
	}
	token := apikey.NewFeedToken()
	if _, err := h.apply(r, h.now(), apikey.OpenFeed{WorkspaceID: ws, Digest: token.Digest()}); err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, feedAnswer{Path: "/calendar/" + token.Reveal() + ".ics"}, nil
}

// revokeFeed revokes the calendar feed of a workspace.
func (h *Handler) revokeFeed(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	if err := decode(r, &struct{}{}); err != nil {
		return 0, nil, err
	}
	outcome, err := h.apply(r, h.now(), apikey.CloseFeed{WorkspaceID: ws})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, feedRevokedAnswer{Revoked: !outcome.Unchanged}, nil
}

// showFeed serves anyone who knows the path of a feed. The feed is looked up by the
// digest of its token, so that timing reveals nothing about the token. A pinned
// mount does not distinguish other workspaces' feeds from unknown ones.
func (h *Handler) showFeed(r *http.Request) (int, any, error) {
	name, _ := strings.CutSuffix(r.PathValue("feed"), ".ics")
	token, ok := apikey.ParseFeedToken(name)
	if !ok || name == r.PathValue("feed") {
		return 0, nil, errUnknownFeed
	}
	ws, err := h.keys().Feed(r.Context(), token.Digest())
	if errors.Is(err, apikey.ErrNotFound) || err == nil && h.Workspace != nil && h.Workspace(r) != ws {
		return 0, nil, errUnknownFeed
	}
	if err != nil {
		return 0, nil, err
	}
	return h.calendar(r.Context(), ws)
}
