package admin

import (
	"net/http"
	"net/url"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// reasonRequest is the body of a call that takes only a reason.
type reasonRequest struct {
	Reason string `json:"reason,omitzero"`
}

// keyAnswer is one key.
type keyAnswer struct {
	Key client.Key `json:"key"`
}

// usesAnswer is when a key was used, and from where.
type usesAnswer struct {
	Uses client.Uses `json:"uses"`
}

func (h *Handler) createKey(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	var request client.CreateRequest
	if err := decode(r, &request); err != nil {
		return 0, nil, err
	}
	now := h.now()
	key, err := h.newKey(request, ws, now)
	if err != nil {
		return 0, nil, err
	}
	token := apikey.NewToken(h.Rules.TokenPrefix)
	key.Digest, key.TokenHint, key.CreatedBy = token.Digest(), token.Hint(), h.actor(r)

	outcome, err := h.apply(r, now, apikey.Create{Key: key, MaxActive: h.Rules.MaxActiveKeys})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, client.NewKey{Key: present.Key(&outcome.Key, now), Token: token.Reveal()}, nil
}

// newKey checks a request against the rules, and returns the key without its token.
func (h *Handler) newKey(request client.CreateRequest, ws string, now time.Time) (apikey.Key, error) {
	name, err := h.parseName(request.Name)
	if err != nil {
		return apikey.Key{}, err
	}
	owner, err := apikey.ParseOwner(request.Owner)
	if err != nil {
		return apikey.Key{}, err
	}
	preset, err := apikey.ParsePreset(request.Preset)
	if err != nil {
		return apikey.Key{}, err
	}
	life, err := h.life(request.ExpiresIn)
	if err != nil {
		return apikey.Key{}, err
	}
	return apikey.Key{
		ID: apikey.NewKeyID(now), WorkspaceID: ws, Name: name, Owner: owner, Preset: preset,
		CreatedAt: now, ExpiresAt: now.Add(life),
	}, nil
}

func (h *Handler) life(requested *string) (time.Duration, error) {
	if requested == nil {
		return h.Rules.Life, nil
	}
	const field = "expires_in"
	life, err := apikey.ParseDuration(field, *requested)
	switch {
	case err != nil:
		return 0, err
	case life > h.Rules.Life:
		return 0, &apikey.Error{
			Code: apikey.ErrInvalidDuration.Code, Field: field,
			Message: "A key can live at most " + apikey.FormatDuration(h.Rules.Life) + " on this server.",
		}
	case life < time.Millisecond:
		return 0, &apikey.Error{
			Code: apikey.ErrInvalidDuration.Code, Field: field,
			Message: "A key must live for at least a millisecond.",
		}
	}
	// Times are kept to the millisecond.
	return life.Truncate(time.Millisecond), nil
}

func (h *Handler) listKeys(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	query, err := queryOf(r, "status", "q", "limit", "cursor")
	if err != nil {
		return 0, nil, err
	}
	list := "keys of " + ws
	page, err := pageOf(query, list, apikey.ValidKeyID)
	if err != nil {
		return 0, nil, err
	}
	filter, err := filterOf(query)
	if err != nil {
		return 0, nil, err
	}
	now := h.now()
	keys, next, err := h.keys().Keys(r.Context(), ws, filter, page, now)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, presentPage(keys, now, cursorFor(list, next)), nil
}

func presentPage(keys []*apikey.Key, now time.Time, next *string) client.KeyPage {
	page := client.KeyPage{Keys: make([]client.Key, 0, len(keys)), NextCursor: next}
	for _, key := range keys {
		page.Keys = append(page.Keys, present.Key(key, now))
	}
	return page
}

func filterOf(query url.Values) (apikey.KeyFilter, error) {
	filter := apikey.KeyFilter{Status: apikey.Status(query.Get("status")), Query: query.Get("q")}
	switch filter.Status {
	case "", apikey.Active, apikey.Expired, apikey.Revoked:
		return filter, nil
	}
	return apikey.KeyFilter{}, errInvalidStatus
}

// keyFor returns the key that a call is about.
func (h *Handler) keyFor(r *http.Request) (*apikey.Key, error) {
	ws, id, err := keyOf(r)
	if err != nil {
		return nil, err
	}
	return h.keys().Key(r.Context(), ws, id)
}

func (h *Handler) showKey(r *http.Request) (int, any, error) {
	key, err := h.keyFor(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, keyAnswer{Key: present.Key(key, h.now())}, nil
}

func (h *Handler) showUses(r *http.Request) (int, any, error) {
	key, err := h.keyFor(r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, usesAnswer{client.Uses{FirstAt: present.Optional(key.FirstUsedAt), LastAt: present.Optional(key.LastUsedAt), LastFrom: present.Optional(key.LastUsedFrom)}}, nil
}

func (h *Handler) revokeKey(r *http.Request) (int, any, error) {
	ws, id, err := keyOf(r)
	if err != nil {
		return 0, nil, err
	}
	reason, err := reasonOf(r)
	if err != nil {
		return 0, nil, err
	}
	return h.revoke(r, apikey.Revoke{WorkspaceID: ws, KeyID: id, Reason: reason})
}

func (h *Handler) revoke(r *http.Request, do apikey.Revoke) (int, any, error) {
	now := h.now()
	outcome, err := h.apply(r, now, do)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, client.Revocation{Key: present.Key(&outcome.Key, now), Propagation: presentPropagation(outcome.Propagation)}, nil
}

func presentPropagation(p apikey.Propagation) client.Propagation {
	state := client.Pending
	if p.Confirmed {
		state = client.Confirmed
	}
	return client.Propagation{State: state, Revision: p.Revision, Gateways: p.Gateways, WaitedMS: p.Waited.Milliseconds(), Behind: p.Behind}
}
