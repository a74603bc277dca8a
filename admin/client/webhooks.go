package client

import (
	"context"
	"net/http"
)

// WebhookTest is what came of a test message to one webhook.
type WebhookTest struct {
	// URL is the address of the webhook, without its query.
	URL string `json:"url"`
	// Received means that the webhook has confirmed the message, with a status of 2xx.
	Received bool `json:"received"`
	// Status is that of the response; nil if there was none.
	Status *int `json:"status"`
	// Error says in a line why it was not received; nil if it was.
	Error *string `json:"error"`
	// DurationMS is how long it took, in milliseconds.
	DurationMS int64 `json:"duration_ms"`
}

type webhookTestAnswer struct {
	Webhooks []WebhookTest `json:"webhooks"`
}

func (a *webhookTestAnswer) served() bool { return len(a.Webhooks) > 0 }

// TestWebhooks has the gateway send a message of type webhook.test to each of its webhooks,
// and returns what came back. It succeeds also if a webhook did not receive it. If none is
// configured, the error is [CodeNotFound].
func (c *Client) TestWebhooks(ctx context.Context) ([]WebhookTest, error) {
	var answer webhookTestAnswer
	err := c.call(ctx, http.MethodPost, "/webhooks/test", nil, &answer)
	return answer.Webhooks, err
}
