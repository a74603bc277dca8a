package admin

import (
	"net/http"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// joining is the store of a gateway that has not joined its fleet yet.
type joining struct{ *store.Store }

func (joining) Ping() error { return apikey.ErrFleetJoining }

// A replica that has never been filled answers no call as if there were no keys: all calls
// are refused, but those that show none.
func TestStore_unfilled(t *testing.T) {
	s, err := store.OpenReplica(filepath.Join(t.TempDir(), "replica"), "/api-keys/", zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, func(c *Config) {
		c.Keys = func() Keys { return joining{s} }
		c.Fleet = func() Fleet { return inState{Mode: apikey.ModeStrict, Problem: "no member of etcd answers"} }
	})
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the replica: %v", err)
		}
	})
	answered := map[string]bool{"/openapi.json": true, "/mount": true, "/doctor": true, "/fleet": true, "/fleet/reconcile": true}
	saysItself := map[string]bool{"/healthz": true, "/clock": true} // that the gateway has not joined
	for _, call := range everything() {
		method, path := call[0], call[1]
		if answered[path] {
			a.must(t, http.StatusOK, method, path, call[2])
			continue
		}
		if method != http.MethodGet {
			if got := a.send(t, method, path, call[2]); got.status < 400 || got.status == http.StatusNotFound {
				t.Errorf("%s %s: got status %d and %s, want a refusal", method, path, got.status, got.raw)
			}
			continue
		}
		want := apikey.ErrFleetPartial
		if saysItself[path] {
			want = apikey.ErrFleetJoining
		}
		got := a.refused(t, http.StatusServiceUnavailable, "store_unavailable", "", method, path, "")
		equal(t, path, got.body["error"], any(want.Message))
		a.must(t, http.StatusServiceUnavailable, http.MethodHead, path, "")
	}
}
