package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// MountAnswer is what a caller, such as the Settings page, has to know of the
// mount that it talks to.
type MountAnswer struct {
	Workspace *string  `json:"workspace"` // the one that the mount is pinned to
	Actor     string   `json:"actor"`     // who the caller is in the audit trail
	TestURL   string   `json:"test_url"`  // where to try a key; empty if that is not known
	Keys      KeyRules `json:"keys"`
}

// KeyRules are what an operator decided about new keys.
type KeyRules struct {
	TokenPrefix      string   `json:"token_prefix"`
	ExpiresInSeconds int64    `json:"expires_in_seconds"` // unless less is asked for
	MaxActive        int      `json:"max_active"`         // of one workspace
	VagueNames       []string `json:"vague_names"`        // that are refused, in small letters alone
}

func (h *Handler) showMount(r *http.Request) (int, any, error) {
	answer := MountAnswer{
		Actor:   h.actor(r),
		TestURL: h.TestURL,
		Keys: KeyRules{
			TokenPrefix:      h.Rules.TokenPrefix,
			ExpiresInSeconds: int64(h.Rules.Life.Seconds()),
			MaxActive:        h.Rules.MaxActiveKeys,
			VagueNames:       []string{},
		},
	}
	if !h.Rules.AllowVagueNames {
		answer.Keys.VagueNames = apikey.VagueNames()
	}
	if h.Workspace != nil {
		ws := h.Workspace(r)
		if apikey.ValidateWorkspaceID(ws) != nil {
			return 0, nil, errWrongWorkspace
		}
		answer.Workspace = &ws
	}
	return http.StatusOK, answer, nil
}
