package admin

import (
	"context"
	"net/http"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// FindingsAnswer says what a check of the store has found.
type FindingsAnswer struct {
	Findings []Finding `json:"findings"`
}

// Finding is what was found when one thing was checked.
type Finding struct {
	Check    string          `json:"check"`
	Severity apikey.Severity `json:"severity"` // ok, warning or error
	Message  string          `json:"message"`
	// Advice says what to do, if anything.
	Advice string `json:"advice,omitzero"`
}

// NewFindings returns findings as they are shown.
func NewFindings(found []apikey.Finding) FindingsAnswer {
	answer := FindingsAnswer{Findings: make([]Finding, 0, len(found))}
	for _, f := range found {
		answer.Findings = append(answer.Findings, Finding(f))
	}
	return answer
}

// checkStore reads all that is in the store. The server's own time for an answer
// was not meant for that.
func (h *Handler) checkStore(r *http.Request) (int, any, error) {
	found, err := h.Keys().Check(r.Context(), h.Clock().Machine)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, NewFindings(found), nil
}

// Check has the server check its store, which takes a while.
func (c *Client) Check(ctx context.Context) (answer FindingsAnswer, err error) {
	request, err := c.request(ctx, http.MethodGet, "/doctor", nil)
	if err != nil {
		return answer, err
	}
	if err := c.await(request, &answer); err != nil {
		return answer, err
	}
	if len(answer.Findings) == 0 {
		return answer, ErrNotServed
	}
	return answer, nil
}
