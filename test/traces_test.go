package test

import (
	"bytes"
	"net/http"
	"testing"

	traces "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestTraces_sayWhoseRequestItWas: the server's span of a request has what the
// access log has of it, and whose key it was only if the whole token matched.
func TestTraces_sayWhoseRequestItWas(t *testing.T) {
	t.Parallel()
	collected := collect(t)
	s := start(t, traced("public_api"), collected.env...)
	reader, readOnly := s.Create("acme", "Zapier production", "read_only")
	old, revoked := s.Create("globex", "Old export", "full_access")
	s.Revoke(old)
	tests := []struct {
		path, method, token        string
		result, keyID, workspaceID string
	}{
		{"/allowed", "GET", readOnly, "allowed", reader.ID, "acme"},
		{"/read-only", "POST", readOnly, "read_only", reader.ID, "acme"},
		{"/revoked", "GET", revoked, "revoked", old.ID, "globex"},
		{"/unknown", "GET", gatewaytest.OtherToken(readOnly), "unknown", "", ""},
		{"/malformed", "GET", readOnly[:20], "malformed", "", ""},
	}
	c := s.Clients(t)[0]
	for _, test := range tests {
		c.Send(t, test.method, test.path, nil, "Authorization", "Bearer "+test.token)
	}
	s.Stop()

	got := make(map[string]map[string]string) // attributes, by path
	all, _ := collected.received(t)
	for _, span := range all {
		if span.Name == "public_api" && span.Kind == traces.Span_SPAN_KIND_SERVER {
			values := attributes(span)
			got[values["url.path"]] = values
		}
	}
	for _, test := range tests {
		for name, want := range map[string]string{
			"api_key.result": test.result, "api_key.id": test.keyID, "workspace.id": test.workspaceID,
			"http.request.method": test.method, // which Caddy says
		} {
			if value, ok := got[test.path][name]; value != want || ok != (want != "") {
				t.Errorf("%s: got %s %q, want %q", test.path, name, value, want)
			}
		}
	}
}

// TestTraces_holdNoToken looks for the tokens of requests that passed, and that
// did not, in all that is sent to a collector.
func TestTraces_holdNoToken(t *testing.T) {
	t.Parallel()
	collected := collect(t)
	s := start(t, traced("public_api"), collected.env...)
	_, full := s.Create("acme", "Warehouse sync", "full_access")
	key, revoked := s.Create("acme", "Old export", "full_access")
	s.Revoke(key)
	tokens := []string{full, revoked, gatewaytest.OtherToken(full), full[:len(full)-1]}
	for _, c := range s.Clients(t) {
		for _, token := range tokens {
			c.Send(t, http.MethodGet, "/public/v1/me", nil, "Authorization", "Bearer "+token)
		}
	}
	s.Stop()

	_, raw := collected.received(t)
	if !bytes.Contains(raw, []byte("public_api")) {
		t.Fatalf("the collector got %d bytes without the span", len(raw))
	}
	for _, token := range tokens {
		if secret := token[4:40]; bytes.Contains(raw, []byte(secret)) {
			t.Error("a token is in the traces")
		}
	}
}
