package admin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func TestDoctor(t *testing.T) {
	a := newAPI(t)
	a.create(t, "acme", "Zapier")
	got, err := newClient(a.URL).Doctor(t.Context())
	if err != nil {
		t.Fatalf("Doctor: got error %v, want findings", err)
	}
	var checks []string
	for _, f := range got {
		checks = append(checks, f.Check)
		if f.Severity != client.SeverityOK || f.Message == "" || f.Advice != "" {
			t.Errorf("got %+v, want nothing wrong", f)
		}
	}
	equal(t, "checks", checks, []string{"permissions", "space", "changes", "clock", "journal", "tables", "records"})

	if err := a.store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(a.URL).Doctor(t.Context()); codeOf(err) != client.CodeStoreUnavailable {
		t.Errorf("a closed store: got error %v, want store_unavailable", err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) }))
	defer other.Close()
	if _, err := newClient(other.URL).Doctor(t.Context()); !errors.Is(err, client.ErrNotServed) {
		t.Errorf("something else: got error %v, want ErrNotServed", err)
	}
}
