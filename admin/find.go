package admin

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/present"
)

// findKeys lists keys of all workspaces.
func (h *Handler) findKeys(r *http.Request) (int, any, error) {
	const list = "keys"
	query, err := queryOf(r, "q", "status", "expires_within", "limit", "cursor")
	if err != nil {
		return 0, nil, err
	}
	page, err := pageOf(query, list, func(place string) bool {
		_, err := apikey.ParsePlace(place)
		return err == nil
	})
	if err != nil {
		return 0, nil, err
	}
	now := h.now()
	filter, err := wideFilterOf(query, now)
	if err != nil {
		return 0, nil, err
	}
	keys, next, err := h.keys().FindKeys(r.Context(), filter, page, now)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, presentPage(keys, now, cursorFor(list, next)), nil
}

// wideFilterOf is filterOf for keys of all workspaces.
func wideFilterOf(query url.Values, now time.Time) (apikey.KeyFilter, error) {
	filter, err := filterOf(query)
	if err != nil {
		return apikey.KeyFilter{}, err
	}
	if within := query.Get("expires_within"); within != "" {
		d, err := apikey.ParseDuration("expires_within", within)
		if err != nil {
			return apikey.KeyFilter{}, err
		}
		filter.EndsBy = now.Add(d)
	}
	return filter, nil
}

// findKey shows a key, whichever workspace it is of.
func (h *Handler) findKey(r *http.Request) (int, any, error) {
	id := r.PathValue("id")
	if !apikey.ValidKeyID(id) {
		return 0, nil, errUnknownKey
	}
	key, err := h.keys().FindKey(r.Context(), id)
	if errors.Is(err, apikey.ErrNotFound) {
		err = errUnknownKey
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, keyAnswer{Key: present.Key(key, h.now())}, nil
}
