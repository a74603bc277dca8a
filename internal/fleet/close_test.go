package fleet

import (
	"errors"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A change that is asked for while a gateway shuts down, or later, is refused and does not
// wait for ever: the caller that closes the gateway may be waiting for it.
func TestFleet_closed(t *testing.T) {
	g := openGateway(t, "gw0", Options{Endpoints: []string{"http://127.0.0.1:1"}, Prefix: "/api-keys/", MaxStaleness: MinStaleness})
	results := make(chan error, 20)
	for range cap(results) / 2 {
		go func() {
			_, err := g.try(t.Context(), newKey("acme", "Zapier"))
			results <- err
		}()
	}
	g.close()
	for range cap(results) / 2 {
		go func() {
			_, err := g.try(t.Context(), newKey("acme", "Zapier"))
			results <- err
		}()
	}
	for range cap(results) {
		if err := <-results; !errors.Is(err, apikey.ErrStoreUnavailable) {
			t.Errorf("got %v, want %v", err, apikey.ErrStoreUnavailable)
		}
	}
}
