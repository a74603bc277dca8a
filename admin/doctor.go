package admin

import (
	"net/http"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// findingsAnswer is the result of a check of the store.
type findingsAnswer struct {
	Findings []client.Finding `json:"findings"`
}

// presentFindings returns findings in the form of the API.
func presentFindings(found []apikey.Finding) findingsAnswer {
	answer := findingsAnswer{Findings: make([]client.Finding, 0, len(found))}
	for _, f := range found {
		answer.Findings = append(answer.Findings, client.Finding{Check: f.Check, Severity: string(f.Severity), Message: f.Message, Advice: f.Advice})
	}
	return answer
}

// checkStore checks the whole store, which may take longer than the server's
// timeouts allow.
func (h *Handler) checkStore(r *http.Request) (int, any, error) {
	found, err := h.keys().Check(r.Context(), h.Clock().Machine)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, presentFindings(found), nil
}
