package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// HealthAnswer says that the store answers, so that keys can be judged.
type HealthAnswer struct {
	Status string `json:"status"`
	// Changes is "unavailable: " and why, where no key can be made or revoked now.
	// Requests are judged all the same, so the status stays ok: a load balancer
	// has no reason to look elsewhere.
	Changes string `json:"changes,omitzero"`
	// Clock says whether the machine's clock is ahead or behind, where keys are not
	// judged as they would be by the right time.
	Clock apikey.ClockStatus `json:"clock,omitzero"`
}

func (h *Handler) healthz(*http.Request) (int, any, error) {
	if err := h.Keys().Ping(); err != nil {
		return 0, nil, err
	}
	answer := HealthAnswer{Status: "ok"}
	if why := h.Keys().Unchangeable(); why != "" {
		answer.Changes = "unavailable: " + why
	}
	if status := h.Clock().Status(); status != apikey.ClockAgrees {
		answer.Clock = status
	}
	return http.StatusOK, answer, nil
}
