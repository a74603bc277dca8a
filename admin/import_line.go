package admin

import (
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// line is a line of an import: its key, or why it is refused.
type line struct {
	number int
	key    apikey.Key
	err    error
}

// lineRequest is the JSON of a line.
type lineRequest struct {
	WorkspaceID string  `json:"workspace_id"`
	Name        string  `json:"name"`
	Owner       string  `json:"owner"`
	Preset      string  `json:"preset"`
	TokenSHA256 string  `json:"token_sha256"`
	TokenHint   string  `json:"token_hint"`
	CreatedAt   *string `json:"created_at"`
	ExpiresAt   *string `json:"expires_at"`
}

// parseLine reads a line, and checks it. A new key may live as long as life.
func parseLine(number int, text []byte, tooLong bool, life time.Duration, now time.Time) line {
	l := line{number: number, err: errLineTooLarge}
	if tooLong {
		return l
	}
	var request lineRequest
	if why := decodeObject(text, &request); why != "" {
		l.err = &apikey.Error{Code: errInvalidJSON.Code, Message: "The line is not the JSON object that an import expects: " + why + "."}
		return l
	}
	l.key, l.err = request.key(life, now)
	return l
}

// key checks a line, and returns its key. It may be vague, and live as long as a new one.
func (l *lineRequest) key(life time.Duration, now time.Time) (key apikey.Key, err error) {
	if apikey.ValidateWorkspaceID(l.WorkspaceID) != nil {
		return key, &apikey.Error{Code: apikey.ErrInvalidWorkspace.Code, Field: "workspace_id", Message: apikey.ErrInvalidWorkspace.Message}
	}
	key = apikey.Key{WorkspaceID: l.WorkspaceID, Imported: true, CreatedAt: now, ExpiresAt: now.Add(life)}
	if key.Name, err = apikey.ParseName(l.Name); err != nil {
		return key, err
	}
	if key.Owner, err = apikey.ParseOwner(l.Owner); err != nil {
		return key, err
	}
	if key.Preset, err = apikey.ParsePreset(l.Preset); err != nil {
		return key, err
	}
	if key.Digest, err = apikey.ParseDigest(l.TokenSHA256); err != nil {
		return key, err
	}
	if key.TokenHint, err = apikey.ParseHint(l.TokenHint); err != nil {
		return key, err
	}
	if err := key.RevealsToken(); err != nil {
		return key, err
	}
	if l.CreatedAt != nil {
		if key.CreatedAt, err = apikey.ParseCreatedAt(*l.CreatedAt, now); err != nil {
			return key, err
		}
	}
	if l.ExpiresAt != nil {
		at, err := apikey.ParseExpiresAt(*l.ExpiresAt, now)
		if err != nil {
			return key, err
		}
		if at.Before(key.ExpiresAt) {
			key.ExpiresAt = at
		}
	}
	key.ID = apikey.NewKeyID(now)
	return key, nil
}
