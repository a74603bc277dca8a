package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func webhookTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook-test",
		Short: "Has the server send a test to its webhooks, and says what came back",
		Long: `Has the server send a message of type webhook.test to each of its webhooks, signed like
any other, and says what came back. The exit status is 1 if one of them did not confirm
it with a status of 2xx within 10 seconds. The test is not repeated.`,
		Example: `  caddy api-keys webhook-test`,
	}
	return prepare(cmd, func(ctx context.Context, t *terminal, args []string) error {
		if len(args) > 0 {
			return usagef("unexpected argument %q", args[0])
		}
		tested, err := t.client.TestWebhooks(ctx)
		if err != nil {
			return err
		}
		if err := t.webhookTests(tested); err != nil {
			return err
		}
		return webhookVerdict(tested)
	})
}

func (t *terminal) webhookTests(tested []client.WebhookTest) error {
	if t.form == "json" {
		return t.json(map[string]any{"webhooks": tested})
	}
	list := table{fit: t.width, shorten: []int{0, 1}}
	list.row("WEBHOOK", "RESULT", "TOOK")
	for _, w := range tested {
		list.row(w.URL, webhookResult(w), (time.Duration(w.DurationMS) * time.Millisecond).String())
	}
	return list.write(t.out)
}

// webhookResult says in words what came back.
func webhookResult(w client.WebhookTest) string {
	switch {
	case w.Error != nil:
		return "failed: " + *w.Error
	case w.Status != nil:
		return fmt.Sprintf("received (%d)", *w.Status)
	}
	return "received"
}

// webhookVerdict returns an error if a webhook did not receive the test.
func webhookVerdict(tested []client.WebhookTest) error {
	failed := 0
	for _, w := range tested {
		if !w.Received {
			failed++
		}
	}
	if failed == 0 {
		return nil
	}
	return fmt.Errorf("%d of %s did not receive the test", failed, plural(len(tested), "webhook"))
}
