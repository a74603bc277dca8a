package admin

import "net/http"

// HealthAnswer says that the store answers, so that keys can be judged.
type HealthAnswer struct {
	Status string `json:"status"`
	// Changes is "unavailable: " and why, where no key can be made or revoked now.
	// Requests are judged all the same, so the status stays ok: a load balancer
	// has no reason to look elsewhere.
	Changes string `json:"changes,omitzero"`
}

func (h *Handler) healthz(*http.Request) (int, any, error) {
	if err := h.Keys().Ping(); err != nil {
		return 0, nil, err
	}
	answer := HealthAnswer{Status: "ok"}
	if why := h.Keys().Unchangeable(); why != "" {
		answer.Changes = "unavailable: " + why
	}
	return http.StatusOK, answer, nil
}
