package caddymodule

import (
	"context"
	"time"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/delivery"
	"github.com/agiled/caddy-api-keys/internal/metrics"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// countedOutbox is an outbox whose failures are counted as those of the store.
type countedOutbox struct {
	webhook.Outbox
	count func(ctx context.Context, operation metrics.StoreOperation, err *error)
}

func (o countedOutbox) Announce(ctx context.Context, now time.Time) (more bool, err error) {
	defer o.count(ctx, metrics.Change, &err)
	return o.Outbox.Announce(ctx, now)
}

func (o countedOutbox) Pending(ctx context.Context, receiver, workspace, after string, most int) (_ []webhook.Message, err error) {
	defer o.count(ctx, metrics.Read, &err)
	return o.Outbox.Pending(ctx, receiver, workspace, after, most)
}

func (o countedOutbox) Done(ctx context.Context, messages ...webhook.Message) (err error) {
	defer o.count(ctx, metrics.Change, &err)
	return o.Outbox.Done(ctx, messages...)
}

// newDeliverer returns what sends the messages of the instance.
func (i *instance) newDeliverer() *delivery.Deliverer {
	return delivery.New(delivery.Config{
		Outbox: i.store.outbox(), Now: i.clock.Confirmed, Observe: collectors.CountDelivery, Log: i.webhookLog,
	})
}

// useWebhooks has messages written for, and sent to, other receivers from now on.
func (i *instance) useWebhooks(w *webhooks) error {
	if w == nil {
		w = new(webhooks)
	}
	if err := i.store.SetReceivers(w.receivers); err != nil {
		return err
	}
	i.deliverer.Use(w.targets)
	return nil
}

// Webhooks implements metrics.Webhooks.
func (runningGateway) Webhooks() (pending int, age time.Duration, ok bool) {
	i := runningInstance()
	if i == nil {
		return 0, 0, false
	}
	waiting := i.deliverer.Pending()
	return waiting.Messages, waiting.Age, true
}

// webhookTester sends test messages for the admin API.
type webhookTester struct{ deliverer *delivery.Deliverer }

// Test implements admin.Webhooks.
func (t webhookTester) Test(ctx context.Context) (tests []client.WebhookTest) {
	for _, tested := range t.deliverer.Test(ctx) {
		shown := client.WebhookTest{URL: tested.Address, Received: tested.Received(), DurationMS: tested.Took.Milliseconds()}
		if tested.Status != 0 {
			shown.Status = &tested.Status
		}
		if tested.Failure != "" {
			shown.Error = &tested.Failure
		}
		tests = append(tests, shown)
	}
	return tests
}

// webhooksOf returns the webhooks of the app's instance, as the admin API needs them.
func (a *App) webhooksOf() admin.Webhooks {
	if i := a.instance(context.Background()); i != nil {
		return webhookTester{i.deliverer}
	}
	return nil
}
