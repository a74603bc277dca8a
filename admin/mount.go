package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func (h *Handler) showMount(r *http.Request) (int, any, error) {
	answer := client.Mount{
		Actor:   h.actor(r),
		TestURL: h.TestURL,
		Keys: client.KeyRules{
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
