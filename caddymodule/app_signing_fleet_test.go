package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/identity"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/assertion"
	"github.com/agiled/caddy-api-keys/internal/etcdtest"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// member is a gateway of a fleet, and where it publishes its keys.
type member struct {
	*instance
	keysURL string
}

func (m member) publish(w http.ResponseWriter, _ *http.Request) {
	set, _ := m.signing.Ring().PublicKeys()
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(set)
}

// upstream returns an upstream that has fetched the member's keys.
func (m member) upstream(t *testing.T) *identity.Verifier {
	t.Helper()
	v, err := identity.NewVerifier(m.keysURL, "contacts", identity.WithIssuer("https://api.example.com"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), m.sign()); err != nil {
		t.Errorf("got error %v for an assertion of the gateway itself, want none", err)
	}
	return v
}

func (m member) sign() string {
	terms := assertion.Terms{Issuer: "https://api.example.com", Audience: "contacts", Lifetime: time.Minute}
	key := newKey(apikey.FullAccess)
	granted := key.Grant()
	return m.signing.Assertion(&terms, new(assertion.Slot), &granted, time.Now())
}

// aged returns a record of signing keys as if it had not changed for a day longer.
func aged(record []byte) ([]byte, error) {
	var r struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(record, &r); err != nil {
		return nil, err
	}
	for _, key := range r.Keys {
		key["since"] = int64(key["since"].(float64)) - (24 * time.Hour).Milliseconds()
	}
	return json.Marshal(r)
}

// TestSigning_fleetRotation: before, while and after the keys of a fleet are rotated, what
// any gateway signs verifies with the keys that any of them publishes, and with those that
// an upstream has fetched before.
func TestSigning_fleetRotation(t *testing.T) {
	endpoints := etcdtest.Start(t, 1).Endpoints()
	var fleet []member
	for i := range 3 {
		with := plainSettings
		with.fleet = fleetOf(t, fmt.Sprintf("endpoints %s\n integrity_key %s\n name gateway-%d", endpoints[0], firstKey, i))
		with.signing = &signingSettings{every: 24 * time.Hour, secrets: with.fleet.secrets()}
		opened, _ := openTestInstance(t, filepath.Join(t.TempDir(), "keys"), with, zap.NewNop())
		m := member{instance: opened}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.publish(w, r) }))
		t.Cleanup(server.Close)
		m.keysURL = server.URL
		fleet = append(fleet, m)
		gatewaytest.Await(t, "the lease", func() bool { return opened.store.Ping() == nil })
	}
	if err := fleet[0].renewSigningKeys(t.Context(), fleet[0].settings.Load().signing); err != nil {
		t.Fatal(err)
	}
	for _, m := range fleet {
		gatewaytest.Await(t, "the first keys", func() bool { return m.signing.Ring() != nil })
	}
	for _, rotates := range fleet {
		before := fmt.Sprint(rotates.signing.Ring())
		if err := rotates.store.RenewSigningKeys(t.Context(), time.Now(), aged); err != nil {
			t.Fatal(err)
		}
		var upstreams []*identity.Verifier
		for _, m := range fleet {
			upstreams = append(upstreams, m.upstream(t))
		}
		wantAllVerify := func() {
			t.Helper()
			for i, m := range fleet {
				token := m.sign()
				for j, other := range fleet {
					for when, v := range map[string]*identity.Verifier{"before": upstreams[j], "now": other.upstream(t)} {
						if _, err := v.Verify(t.Context(), token); err != nil {
							t.Errorf("got error %v for an assertion of gateway %d with the keys of gateway %d that were fetched %s, want none", err, i, j, when)
						}
					}
				}
			}
		}
		wantAllVerify()
		rotates.signing.mu.Lock()
		rotates.signing.since = time.Now().Add(-24 * time.Hour)
		rotates.signing.mu.Unlock()
		if err := rotates.renewSigningKeys(t.Context(), rotates.settings.Load().signing); err != nil {
			t.Fatal(err)
		}
		gatewaytest.Await(t, "all gateways to sign with the next key", func() bool {
			wantAllVerify()
			signs := map[string]bool{}
			for _, m := range fleet {
				signs[fmt.Sprint(m.signing.Ring())] = true
			}
			return len(signs) == 1 && !signs[before]
		})
		wantAllVerify()
	}
}
