package admin

import (
	"context"
	"net/http"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// tested are webhooks with what comes of a test.
type tested []client.WebhookTest

func (t tested) Test(context.Context) []client.WebhookTest { return t }

func TestWebhookTest(t *testing.T) {
	status, why := http.StatusNoContent, "no answer within 10s"
	results := tested{
		{URL: "https://hooks.example.com/", Received: true, Status: &status, DurationMS: 38},
		{URL: "https://example.net/", Error: &why, DurationMS: 10_000},
	}
	a := newAPI(t, func(c *Config) { c.Webhooks = func() Webhooks { return results } })
	equal(t, "test", a.must(t, http.StatusOK, "POST", "/webhooks/test", "").body, object(t, `{"webhooks":[
		{"url":"https://hooks.example.com/","received":true,"status":204,"error":null,"duration_ms":38},
		{"url":"https://example.net/","received":false,"status":null,"error":"no answer within 10s","duration_ms":10000}]}`))
	got, err := newClient(a.URL).TestWebhooks(t.Context())
	if err != nil || len(got) != 2 || !got[0].Received || *got[1].Error != why {
		t.Errorf("got %+v, %v, want what came of two tests", got, err)
	}

	a = newAPI(t, func(c *Config) { c.Webhooks = func() Webhooks { return tested(nil) } })
	a.refused(t, http.StatusNotFound, "not_found", "", "POST", "/webhooks/test", "")
	newAPI(t).refused(t, http.StatusNotFound, "not_found", "", "POST", "/webhooks/test", "")
}

// A mount of one workspace does not send messages in the name of all.
func TestWebhookTest_pinned(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Workspace = func(*http.Request) string { return "acme" } })
	a.refused(t, http.StatusForbidden, "workspace_mismatch", "", "POST", "/webhooks/test", "")
}
