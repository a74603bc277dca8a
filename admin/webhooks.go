package admin

import (
	"cmp"
	"context"
	"net/http"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// Webhooks are those of the configuration, as this package needs them.
type Webhooks interface {
	// Test sends a test message to each, and returns what came back, in their order; nothing
	// if there are none. It takes ten seconds at most.
	Test(ctx context.Context) []client.WebhookTest
}

type webhookTestAnswer struct {
	Webhooks []client.WebhookTest `json:"webhooks"`
}

// testWebhooks answers with 200 whatever came back: the call itself was successful.
func (h *Handler) testWebhooks(r *http.Request) (int, any, error) {
	if h.Webhooks != nil {
		if webhooks := h.Webhooks(); webhooks != nil {
			if tested := webhooks.Test(r.Context()); len(tested) > 0 {
				return http.StatusOK, webhookTestAnswer{tested}, nil
			}
		}
	}
	return 0, nil, cmp.Or(h.keys().Ping(), error(errNoWebhooks))
}
