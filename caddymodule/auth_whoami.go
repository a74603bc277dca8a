package caddymodule

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// whoami is what a key is told about itself.
type whoami struct {
	Workspace whoamiWorkspace `json:"workspace"`
	Key       whoamiKey       `json:"key"`
}

type whoamiWorkspace struct {
	ID string `json:"id"`
}

type whoamiKey struct {
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Preset    apikey.Preset `json:"preset"`
	Abilities []string      `json:"abilities"`
	CreatedAt time.Time     `json:"created_at"`
	ExpiresAt time.Time     `json:"expires_at"`
}

// asksWhoami reports whether a request that passes is answered by whoami, and not
// by an upstream.
func (h *Auth) asksWhoami(r *http.Request) bool {
	return h.Whoami != "" && r.URL.Path == h.Whoami && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// answerWhoami tells a client about its key. It is the first call of every
// integration.
func answerWhoami(w http.ResponseWriter, key *apikey.Grant) error {
	body, err := json.Marshal(whoami{
		Workspace: whoamiWorkspace{ID: key.WorkspaceID()},
		Key: whoamiKey{
			ID: key.ID(), Name: key.Name(), Preset: key.Preset(), Abilities: key.Preset().Abilities(),
			CreatedAt: key.CreatedAt.Time(), ExpiresAt: key.ExpiresAt.Time(),
		},
	})
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, err = w.Write(append(body, '\n'))
	return err
}
