package test

import (
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

const (
	unauthorized = `{"error":"Unauthorized."}`
	forbidden    = `{"error":"Forbidden."}`
	challenge    = `Bearer realm="api"`
	invalidToken = challenge + `, error="invalid_token"`
)

// TestGateway_identity verifies that the upstream sees exactly one value of each identity
// header, the gateway's, whatever the client sends in its place.
func TestGateway_identity(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	auth := []string{"Authorization", "Bearer " + token}

	tests := []struct {
		name   string
		fields []string
	}{
		{"nothing", nil},
		{"as they are", []string{"X-Workspace-Id", "evil", "X-Api-Key-Id", "evil", "X-Api-Key-Access", "evil", "X-Api-Key-Assertion", "evil"}},
		{"twice", []string{"X-Workspace-Id", "evil", "X-Workspace-Id", "evil2"}},
		{"empty", []string{"X-Workspace-Id", ""}},
		{"lower case", []string{"x-workspace-id", "evil", "x-api-key-id", "evil"}},
		{"underscores", []string{"X_Workspace_Id", "evil", "x-workspace_id", "evil"}},
		{"dots", []string{"X.Workspace.Id", "evil", "x.api-key_access", "evil"}},
	}
	for _, c := range s.Clients(t) {
		for _, test := range tests {
			t.Run(c.Name+"/"+test.name, func(t *testing.T) {
				s.Upstream.Take()
				got := c.Send(t, "GET", "/public/v1/me", nil, append(test.fields, auth...)...)
				if got.Status != 200 {
					t.Fatalf("got status %d, want 200", got.Status)
				}
				wantIdentity(t, s.Upstream.Take(), key)
			})
		}
	}
}

// TestGateway_connection sends what only HTTP/1.1 has: headers named in
// Connection, which proxies delete, and trailers, which they forward.
func TestGateway_connection(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	key, token := s.Create("acme", "Warehouse sync", "full_access")
	head := "GET /public/v1/me HTTP/1.1\r\nHost: " + s.Plain + "\r\nAuthorization: Bearer " + token + "\r\n"
	chunked := strings.Replace(head, "GET", "POST", 1) + "Transfer-Encoding: chunked\r\n"
	const body = "\r\n3\r\nabc\r\n0\r\n"

	tests := []struct{ name, request string }{
		{"Connection names ours", head + "Connection: X-Workspace-ID\r\n\r\n"},
		{"among others, in odd case", head + "Connection: close, x-WORKSPACE-id , X-Api-Key-Id\r\n\r\n"},
		{"on two lines", head + "Connection: close\r\nConnection: X-API-Key-Access\r\n\r\n"},
		{"with keep-alive", head + "Connection: keep-alive, X-Workspace-ID\r\n\r\n"},
		{"an undeclared trailer", chunked + body + "X-Workspace-ID: evil\r\n\r\n"},
		{"a declared trailer", chunked + "Trailer: X-Workspace-ID, X_API_Key_ID\r\n" + body + "X-Workspace-ID: evil\r\nX_API_Key_ID: evil\r\n\r\n"},
		{"Expect", chunked + "Expect: 100-continue\r\n" + body + "X-Workspace-ID: evil\r\n\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s.Upstream.Take()
			got := gatewaytest.Raw(t, s.Plain, test.request)
			if got.Status != 200 {
				t.Fatalf("got %d %s, want 200", got.Status, got.Body)
			}
			s.Await("the upstream to receive it", func() bool { return s.Upstream.Count() > 0 })
			wantIdentity(t, s.Upstream.Take(), key)
		})
	}
}

func wantIdentity(t *testing.T, received []gatewaytest.Received, key client.Key) {
	t.Helper()
	if len(received) != 1 {
		t.Fatalf("the upstream received %d requests, want 1", len(received))
	}
	request := received[0]
	for name, want := range map[string][]string{
		"X-Workspace-ID":      {key.WorkspaceID},
		"X-API-Key-ID":        {key.ID},
		"X-API-Key-Access":    {key.Preset},
		"X-API-Key-Assertion": nil,
		"Authorization":       nil,
	} {
		if got := request.Values(name); !slices.Equal(got, want) {
			t.Errorf("the upstream got %s %q, want %q; it received:\n%s\n%s", name, got, want, request.Head, request.Trailer)
		}
	}
	if strings.Contains(request.Head+request.Trailer, "evil") {
		t.Errorf("the client's own value arrived:\n%s\n%s", request.Head, request.Trailer)
	}
}

// TestGateway_refusesBeforeTheBody verifies that nobody waits for the body of a request
// that is refused anyway.
func TestGateway_refusesBeforeTheBody(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, token := s.Create("acme", "Zapier production", "read_only")
	got := gatewaytest.Raw(t, s.Plain, "POST /public/v1/contacts HTTP/1.1\r\nHost: "+s.Plain+"\r\nAuthorization: Bearer "+token+
		"\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
	if got.Status != 403 || !got.Closes {
		t.Errorf("got %d, closing %v; want 403, closing", got.Status, got.Closes)
	}
	got = gatewaytest.Raw(t, s.Plain, "POST /public/v1/contacts HTTP/1.1\r\nHost: "+s.Plain+"\r\nContent-Length: 1000000\r\n\r\nbegun")
	if got.Status != 401 || !got.Closes {
		t.Errorf("got %d, closing %v; want 401, closing", got.Status, got.Closes)
	}
}

// TestGateway_revokes verifies that a revoked key passes no request that starts after the
// revocation was answered, even while its key is in memory.
func TestGateway_revokes(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	for _, c := range s.Clients(t) {
		key, token := s.Create("acme", "Key over "+c.Name, "full_access")
		if got := c.Send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+token); got.Status != 200 {
			t.Fatalf("over %s: got status %d before the revocation, want 200", c.Name, got.Status)
		}
		s.Revoke(key)
		if got := c.Send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+token); got.Status != 401 {
			t.Errorf("over %s: got status %d after the revocation, want 401", c.Name, got.Status)
		}
	}
}
