package admin

import (
	"errors"
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// TokenRequest names a key by its token, as somebody does who has found one.
type TokenRequest struct {
	Token  string `json:"token"`
	Reason string `json:"reason,omitzero"`
}

// lookUpToken says whose a token is. That somebody asked is in the audit trail;
// the token is nowhere.
func (h *Handler) lookUpToken(r *http.Request) (int, any, error) {
	var request struct {
		Token string `json:"token"`
	}
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	key, err := h.keyByToken(r, request.Token)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, KeyAnswer{Key: present(key, h.now())}, nil
}

// revokeToken ends the key of a token.
func (h *Handler) revokeToken(r *http.Request) (int, any, error) {
	var request TokenRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	reason, err := apikey.ParseReason(request.Reason)
	if err != nil {
		return 0, nil, err
	}
	key, err := h.keyByToken(r, request.Token)
	if err != nil {
		return 0, nil, err
	}
	now := h.now()
	outcome, err := h.apply(r, now, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: reason})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, KeyAnswer{Key: present(&outcome.Key, now)}, nil
}

// keyByToken finds the key of a token. What is no token is nobody's.
func (h *Handler) keyByToken(r *http.Request, presented string) (*apikey.Key, error) {
	token, ok := apikey.ParseToken(presented)
	if !ok {
		return nil, errUnknownToken
	}
	outcome, err := h.apply(r, h.now(), apikey.Lookup{Digest: token.Digest()})
	if errors.Is(err, apikey.ErrNotFound) {
		return nil, errUnknownToken
	}
	if err != nil {
		return nil, err
	}
	return &outcome.Key, nil
}
