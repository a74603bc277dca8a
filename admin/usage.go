package admin

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// defaultDays is for how many days usage is shown unless a call says otherwise.
const defaultDays = 30

// usageAnswer is how often a key was used, by day.
type usageAnswer struct {
	Usage []client.DayUsage `json:"usage"`
}

// usageOfKeysAnswer is how often keys were used, by id and day.
type usageOfKeysAnswer struct {
	Usage map[string][]client.DayUsage `json:"usage"`
}

func (h *Handler) showUsage(r *http.Request) (int, any, error) {
	ws, id, err := keyOf(r)
	if err != nil {
		return 0, nil, err
	}
	query, err := queryOf(r, "days")
	if err != nil {
		return 0, nil, err
	}
	found, err := h.usageOf(r, ws, []string{id}, query)
	if err != nil {
		return 0, nil, err
	}
	usage, known := found[id]
	if !known {
		return 0, nil, apikey.ErrNotFound
	}
	return http.StatusOK, usageAnswer{usage}, nil
}

func (h *Handler) listUsage(r *http.Request) (int, any, error) {
	ws, err := workspaceOf(r)
	if err != nil {
		return 0, nil, err
	}
	query, err := queryOf(r, "days", "keys")
	if err != nil {
		return 0, nil, err
	}
	ids, err := keysIn(query.Get("keys"))
	if err != nil {
		return 0, nil, err
	}
	found, err := h.usageOf(r, ws, ids, query)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, usageOfKeysAnswer{found}, nil
}

// usageOf returns how often keys were used on the last days, as many as a query says.
func (h *Handler) usageOf(r *http.Request, ws string, ids []string, query url.Values) (map[string][]client.DayUsage, error) {
	days := defaultDays
	if query.Has("days") {
		var ok bool
		if days, ok = numberIn(query.Get("days"), apikey.UsageDays); !ok {
			return nil, errInvalidDays
		}
	}
	today := apikey.DayOf(h.now())
	found, err := h.keys().Usage(r.Context(), ws, ids, max(today-apikey.Day(days)+1, 0), today)
	if err != nil {
		return nil, err
	}
	usage := make(map[string][]client.DayUsage, len(found))
	for id, days := range found {
		usage[id] = presentUsage(days)
	}
	return usage, nil
}

func presentUsage(days []apikey.DayUsage) []client.DayUsage {
	shown := make([]client.DayUsage, 0, len(days))
	for _, one := range days {
		shown = append(shown, client.DayUsage{Day: one.Day.String(), Reads: one.Reads, Writes: one.Writes, Refused: one.Refused, RateLimited: one.RateLimited})
	}
	return shown
}

// keysIn returns the ids of a list of keys.
func keysIn(list string) ([]string, error) {
	ids := strings.SplitN(list, ",", maxLimit+1)
	if len(ids) > maxLimit {
		return nil, errInvalidKeys
	}
	for _, id := range ids {
		if !apikey.ValidKeyID(id) {
			return nil, errInvalidKeys
		}
	}
	return ids, nil
}
