package client_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
)

func TestClient_transport(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	if _, err := (&client.Client{BaseURL: gone.URL}).ShowKey(t.Context(), "acme", someKey); err == nil || errors.Is(err, client.ErrNotServed) {
		t.Errorf("nobody listens: got error %v, want the transport's", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := clienttest.NewServer(t).Client().ShowKey(ctx, "acme", someKey); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got error %v, want context.Canceled", err)
	}
	if _, err := (&client.Client{BaseURL: ":"}).ShowKey(t.Context(), "acme", someKey); err == nil {
		t.Error("no address: got no error, want one")
	}
}

// The zero Client asks Caddy's admin endpoint at its default address.
func TestClient_zero(t *testing.T) {
	asked := ""
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = r.URL.String()
		return nil, errors.New("nobody listens")
	})
	_, err := (&client.Client{HTTP: &http.Client{Transport: transport}}).Health(t.Context())
	if err == nil || asked != "http://localhost:2019/api-keys/healthz" {
		t.Errorf("got %q, %v, want Caddy's admin endpoint to be asked", asked, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := new(client.Client).Health(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("without an HTTP client: got %v, want context.Canceled", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A redirect is an error, and is not followed.
func TestClient_redirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("got a request of %s elsewhere, want none", r.URL)
	}))
	defer elsewhere.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer redirecting.Close()
	c := &client.Client{BaseURL: redirecting.URL, HTTP: new(http.Client)}
	for name, call := range calls(t.Context(), c) {
		if err := call(); !errors.Is(err, client.ErrNotServed) {
			t.Errorf("%s: got error %v, want ErrNotServed", name, err)
		}
	}
}
