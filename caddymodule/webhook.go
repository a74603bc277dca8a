package caddymodule

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/delivery"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

const maxWebhookSecrets = 2 // the new one and the old one, during a rotation

// defaultExpiring is how long before a key expires events are sent.
var defaultExpiring = []string{"14d", "3d", "1d"}

// Webhook configures one receiver of events. Each is independent of the others.
type Webhook struct {
	// The address that events are sent to with POST, each signed as Standard Webhooks
	// describes: an `https` address, or an `http` address of this machine. May contain
	// placeholders such as `{env.API_KEYS_WEBHOOK_URL}`, but no credentials. Required.
	URL string `json:"url,omitempty"`

	// One or two secrets that events are signed with: `whsec_` and at least 24 bytes in
	// base64. Two while one replaces the other: events then bear a signature of each. Use
	// placeholders, such as `{env.API_KEYS_WEBHOOK_SECRET}`, so that the configuration does
	// not contain the secrets. Required.
	Secrets []string `json:"secrets,omitempty"`

	// The types of the events that are sent: `key.created`, `key.rotated`, `key.revoked`,
	// `key.expiring`, `key.expired`, `key.exposed`, `key.leaked`,
	// `workspace.suspended` or `workspace.resumed`. Default: all of them.
	Events []webhook.Type `json:"events,omitempty"`

	// How long before a key ends `key.expiring` is sent, such as `14d`. A key that begins
	// inside several of them has one event, for the shortest. At most 10. Default: `14d`,
	// `3d` and `1d`.
	Expiring []string `json:"expiring,omitempty"`
}

// target sets defaults, replaces placeholders, and returns the receiver.
func (w *Webhook) target() (target delivery.Target, err error) {
	if w == nil {
		return target, errors.New("it is null")
	}
	if err := w.check(); err != nil {
		return target, err
	}
	if len(w.Events) == 0 {
		w.Events = webhook.Types
	}
	if len(w.Expiring) == 0 && slices.Contains(w.Events, webhook.KeyExpiring) {
		w.Expiring = defaultExpiring
	}
	address, err := evaluated(w.URL)
	if err != nil {
		return target, err
	}
	to, err := delivery.ParseAddress(strings.TrimSpace(address))
	if err != nil {
		return target, err
	}
	secrets, err := w.secrets()
	if err != nil {
		return target, fmt.Errorf("secret: %w", err)
	}
	windows, err := parseWindows(w.Expiring)
	return delivery.Target{
		Receiver: webhook.Receiver{ID: webhook.ReceiverID(to.String()), Types: w.Events, Expiring: windows},
		Sender:   delivery.NewSender(to, secrets),
	}, err
}

// secrets returns what messages are signed with.
func (w *Webhook) secrets() (secrets []delivery.Secret, err error) {
	for _, written := range w.Secrets {
		text, err := evaluated(written)
		if err != nil {
			return nil, err
		}
		secret, err := delivery.ParseSecret(strings.TrimSpace(text))
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

// check refuses options that a JSON configuration can have and a Caddyfile cannot, and those
// that do not go together.
func (w *Webhook) check() error {
	if n := len(w.Secrets); n < 1 || n > maxWebhookSecrets {
		return errNoWebhookSecret
	}
	if err := validateEvents(w.Events); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if _, err := parseWindows(w.Expiring); err != nil {
		return fmt.Errorf("expiring: %w", err)
	}
	if len(w.Events) > 0 && len(w.Expiring) > 0 && !slices.Contains(w.Events, webhook.KeyExpiring) {
		return errors.New("expiring has no effect, because events lacks key.expiring: add that, or remove expiring")
	}
	return nil
}

var errNoWebhookSecret = errors.New("it needs a secret, or the new one and the old one: secret {env.API_KEYS_WEBHOOK_SECRET}")

// validateEvents refuses unknown types, and duplicates.
func validateEvents(events []webhook.Type) error {
	for i, event := range events {
		if !slices.Contains(webhook.Types, event) {
			return fmt.Errorf("%q is not an event: want any of %s", event, eventNames())
		}
		if slices.Contains(events[:i], event) {
			return fmt.Errorf("%s is listed twice", event)
		}
	}
	return nil
}

func eventNames() string {
	names := make([]string, len(webhook.Types))
	for i, event := range webhook.Types {
		names[i] = string(event)
	}
	return strings.Join(names, ", ")
}

// parseWindows reads the times before a key ends, and refuses duplicates.
func parseWindows(texts []string) (windows []webhook.Window, err error) {
	if len(texts) > webhook.MaxWindows {
		return nil, fmt.Errorf("%d durations are listed: at most %d are allowed", len(texts), webhook.MaxWindows)
	}
	for _, text := range texts {
		before, err := apikey.ParseDuration("", text)
		if err != nil {
			return nil, fmt.Errorf("%q is not a duration above zero, such as 14d", text)
		}
		if slices.ContainsFunc(windows, func(w webhook.Window) bool { return w.Before == before }) {
			return nil, fmt.Errorf("%s is listed twice", text)
		}
		windows = append(windows, webhook.Window{Before: before, Within: text})
	}
	return windows, nil
}

// webhooks are the receivers of a configuration.
type webhooks struct {
	receivers []webhook.Receiver
	targets   []delivery.Target
}

// provisionWebhooks prepares all receivers, which must have different addresses.
func (a *App) provisionWebhooks() error {
	if len(a.Webhooks) > webhook.MaxReceivers {
		return fmt.Errorf("%d webhooks are configured: at most %d are allowed", len(a.Webhooks), webhook.MaxReceivers)
	}
	if len(a.Webhooks) > 0 {
		a.webhooks = new(webhooks)
	}
	for i, w := range a.Webhooks {
		target, err := w.target()
		if err != nil {
			return fmt.Errorf("webhook %d: %w", i+1, err)
		}
		same := func(other webhook.Receiver) bool { return other.ID == target.ID }
		if j := slices.IndexFunc(a.webhooks.receivers, same); j >= 0 {
			return fmt.Errorf("webhooks %d and %d have the same address: put all events into one", j+1, i+1)
		}
		a.webhooks.receivers = append(a.webhooks.receivers, target.Receiver)
		a.webhooks.targets = append(a.webhooks.targets, target)
	}
	return nil
}
