package admin

import "net/http"

// HealthAnswer says that the store answers.
type HealthAnswer struct {
	Status string `json:"status"`
}

func (h *Handler) healthz(*http.Request) (int, any, error) {
	if err := h.Keys().Ping(); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, HealthAnswer{Status: "ok"}, nil
}
