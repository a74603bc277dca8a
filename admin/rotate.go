package admin

import (
	"net/http"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

func (h *Handler) updateKey(r *http.Request) (int, any, error) {
	ws, id, err := keyOf(r)
	if err != nil {
		return 0, nil, err
	}
	var request client.UpdateRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	do := apikey.Update{WorkspaceID: ws, KeyID: id}
	if do.Name, err = optionally(request.Name, h.parseName); err != nil {
		return 0, nil, err
	}
	if do.Owner, err = optionally(request.Owner, apikey.ParseOwner); err != nil {
		return 0, nil, err
	}
	now := h.now()
	outcome, err := h.apply(r, now, do)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, keyAnswer{Key: present.Key(&outcome.Key, now)}, nil
}

func (h *Handler) rotateKey(r *http.Request) (int, any, error) {
	ws, id, err := keyOf(r)
	if err != nil {
		return 0, nil, err
	}
	var request client.RotateRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	now := h.now()
	do := apikey.Rotate{WorkspaceID: ws, KeyID: id}
	name, err := optionally(request.Name, h.parseName)
	if err != nil {
		return 0, nil, err
	}
	if do.Owner, err = optionally(request.Owner, apikey.ParseOwner); err != nil {
		return 0, nil, err
	}
	if do.RevokeOldAt, err = revokeOldAt(request.RevokeOldIn, now); err != nil {
		return 0, nil, err
	}
	token := apikey.NewToken(h.Rules.TokenPrefix)
	do.Replacement = apikey.Key{
		ID: apikey.NewKeyID(now), Digest: token.Digest(), TokenHint: token.Hint(),
		CreatedAt: now, CreatedBy: h.actor(r), ExpiresAt: now.Add(h.Rules.Life),
	}
	if name != nil {
		do.Replacement.Name = *name
	}
	outcome, err := h.apply(r, now, do)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, client.Rotation{
		Key: present.Key(&outcome.Key, now), Token: token.Reveal(), Replaced: present.Key(&outcome.Replaced, now),
		Propagation: presentPropagation(outcome.Propagation),
	}, nil
}

// parseName checks a name against the rules.
func (h *Handler) parseName(s string) (string, error) {
	name, err := apikey.ParseName(s)
	if err != nil {
		return "", err
	}
	if !h.Rules.AllowVagueNames && apikey.IsVague(name) {
		return "", apikey.ErrVagueName
	}
	return name, nil
}

// optionally parses a value, if there is one.
func optionally(value *string, parse func(string) (string, error)) (*string, error) {
	if value == nil {
		return nil, nil
	}
	parsed, err := parse(*value)
	if err != nil {
		return nil, err
	}
	return &parsed, nil
}

// revokeOldAt returns when a replaced key is to be revoked; zero for when it
// expires.
func revokeOldAt(in *string, now time.Time) (time.Time, error) {
	if in == nil {
		return time.Time{}, nil
	}
	wait, err := apikey.ParseWait("revoke_old_in", *in)
	if err != nil {
		return time.Time{}, err
	}
	return now.Add(wait.Truncate(time.Millisecond)), nil
}
