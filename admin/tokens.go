package admin

import (
	"errors"
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// tokenRequest names a key by its token, for somebody who has found one.
type tokenRequest struct {
	Token  string `json:"token"`
	Reason string `json:"reason,omitzero"`
}

// lookUpToken finds the key of a token. The audit trail records the look-up, but
// never the token.
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
	return http.StatusOK, keyAnswer{Key: present.Key(key, h.now())}, nil
}

// revokeToken revokes the key of a token.
func (h *Handler) revokeToken(r *http.Request) (int, any, error) {
	var request tokenRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	reason, err := apikey.ParseReason(request.Reason)
	if err != nil {
		return 0, nil, err
	}
	key, err := h.toRevoke(r, request.Token)
	if err != nil {
		return 0, nil, err
	}
	return h.revoke(r, apikey.Revoke{WorkspaceID: key.WorkspaceID, KeyID: key.ID, Reason: reason})
}

// toRevoke finds the key of a token to revoke, even when the disk has room for
// revocations only.
func (h *Handler) toRevoke(r *http.Request, presented string) (*apikey.Key, error) {
	key, err := h.keyByToken(r, presented)
	if token, ok := h.parseToken(presented); ok && errors.Is(err, apikey.ErrNoSpace) {
		if found, lookupErr := h.keys().Lookup(token.Digest()); lookupErr == nil {
			return found, nil
		}
	}
	return key, err
}

// noToken explains what a token looks like, and how what was presented differs.
func noToken(presented string) error {
	return &apikey.Error{Code: errUnknownToken.Code, Message: "This is not a token. A token is a prefix such as agk, an underscore, and 49 letters and digits of which the last 6 are a checksum; that of an imported key may be any 16 to 512 letters, digits and -._~+/. " +
		apikey.TokenFlaw(presented)}
}

// parseToken accepts foreign tokens even if requests with them are refused: the token of
// an imported key can leak too.
func (h *Handler) parseToken(presented string) (apikey.Token, bool) {
	return apikey.ParseAnyToken(presented, h.Rules.TokenPrefix, h.keys().Prefixes())
}

// keyByToken finds the key of a token.
func (h *Handler) keyByToken(r *http.Request, presented string) (*apikey.Key, error) {
	token, ok := h.parseToken(presented)
	if !ok {
		return nil, noToken(presented)
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
