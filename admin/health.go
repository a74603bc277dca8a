package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func (h *Handler) healthz(*http.Request) (int, any, error) {
	if err := h.keys().Ping(); err != nil {
		return 0, nil, err
	}
	answer := client.Health{Status: "ok"}
	if why := h.keys().Unchangeable(); why != "" {
		answer.Changes = "unavailable: " + why
	}
	if status := h.Clock().Status(); status != apikey.ClockAgrees {
		answer.Clock = string(status)
	}
	if fleet := h.fleet(); fleet != nil {
		answer.Fleet = contact(fleet.Known())
	}
	return http.StatusOK, answer, nil
}
