package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/agiled/caddy-api-keys/internal/delivery"
	"github.com/agiled/caddy-api-keys/internal/webhook"
)

// parseWebhook parses the option webhook of api_keys. Syntax:
//
//	webhook <address> {
//	    secret   <placeholder> [<placeholder>]
//	    events   <type...>
//	    expiring <duration...>
//	}
func parseWebhook(d *caddyfile.Dispenser, into *[]*Webhook) error {
	w := new(Webhook)
	if !d.AllArgs(&w.URL) {
		return d.Err("webhook takes one address: webhook https://hooks.example.com/api-keys { ... }")
	}
	start := *d
	if !isPlaceholder(w.URL) {
		if _, err := delivery.ParseAddress(w.URL); err != nil {
			return located(d, "webhook", err)
		}
	}
	if err := parseBlock(d, "webhook", options{
		"secret":   webhookSecrets(d, &w.Secrets),
		"events":   webhookEvents(d, &w.Events),
		"expiring": list(d, &w.Expiring, "<duration...>", literal),
	}); err != nil {
		return err
	}
	*into = append(*into, w)
	return located(&start, "webhook", w.check())
}

// isPlaceholder reports whether an option is evaluated when the configuration is loaded.
func isPlaceholder(option string) bool { return strings.Contains(option, "{") }

// webhookSecrets parses a line with one secret or two.
func webhookSecrets(d *caddyfile.Dispenser, into *[]string) func() error {
	return func() error {
		*into = d.RemainingArgs()
		if n := len(*into); n < 1 || n > maxWebhookSecrets {
			return d.Err("secret takes one secret, or the new one and the old one: secret {env.API_KEYS_WEBHOOK_SECRET}")
		}
		for _, secret := range *into {
			if isPlaceholder(secret) {
				continue
			}
			if _, err := delivery.ParseSecret(secret); err != nil {
				return located(d, "secret", err)
			}
		}
		return nil
	}
}

// webhookEvents parses a line with one type or more.
func webhookEvents(d *caddyfile.Dispenser, into *[]webhook.Type) func() error {
	var names []string
	parse := list(d, &names, "<type...>", literal)
	return func() error {
		err := parse()
		for _, name := range names {
			*into = append(*into, webhook.Type(name))
		}
		return err
	}
}
