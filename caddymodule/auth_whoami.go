package caddymodule

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// whoami is what a key may know of itself.
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

// asksWhoami reports whether a request that passed is to be answered here.
func (h *Auth) asksWhoami(r *http.Request) bool {
	return h.Whoami != "" && r.URL.Path == h.Whoami && (r.Method == http.MethodGet || r.Method == http.MethodHead)
}

// answerWhoami tells a key what it is: the first call of every integration.
func answerWhoami(w http.ResponseWriter, key *apikey.Key) error {
	body, err := json.Marshal(whoami{
		Workspace: whoamiWorkspace{ID: key.WorkspaceID},
		Key: whoamiKey{
			ID: key.ID, Name: key.Name, Preset: key.Preset, Abilities: key.Preset.Abilities(),
			CreatedAt: key.CreatedAt, ExpiresAt: key.ExpiresAt,
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

// expiryNotice is how long before its end a key's answers say when that is.
const expiryNotice = 14 * 24 * time.Hour

// The headers that tell a client of its key's end.
const (
	expiresHeader     = "X-API-Key-Expires"
	deprecationHeader = "Deprecation" // RFC 9745
	sunsetHeader      = "Sunset"      // RFC 8594
)

// announceReplacement tells a client that there is another key in the place of
// its own already, and when that ends it.
func announceReplacement(header http.Header, key *apikey.Key) {
	if key.ReplacedBy == "" {
		return
	}
	header.Set(deprecationHeader, "@"+strconv.FormatInt(key.ReplacedAt.Unix(), 10))
	if !key.RevokesAt.IsZero() {
		header.Set(sunsetHeader, key.RevokesAt.UTC().Format(http.TimeFormat))
	}
}

// announceExpiry tells a client that its key will expire soon.
func announceExpiry(header http.Header, key *apikey.Key, now time.Time) {
	if expiresSoon(key, now) {
		header.Set(expiresHeader, key.ExpiresAt.Format(time.RFC3339))
	}
}

func expiresSoon(key *apikey.Key, now time.Time) bool { return key.ExpiresAt.Sub(now) <= expiryNotice }

// announceNothing takes back what was said of a key's end.
func announceNothing(header http.Header) {
	for _, name := range []string{expiresHeader, deprecationHeader, sunsetHeader} {
		header.Del(name)
	}
}
