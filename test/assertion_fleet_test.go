package test

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// TestAssertion_fleet verifies that the gateways of a fleet sign with the same keys, even
// after the integrity key was replaced, and that etcd has the seeds only encrypted.
func TestAssertion_fleet(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.Start(t, 1)
	oldKey, newKey := strings.Repeat("a1", 32), strings.Repeat("b2", 32)
	config := func(keys string) string {
		config := strings.Replace(fleetConfig(cluster.Endpoints()), "integrity_key "+fleetKey, "integrity_key "+keys, 1)
		return strings.Replace(config, "api_key_auth", "api_key_auth {\n"+assertionBlock("audience "+testAudience)+"\n}", 1)
	}
	var fleet []*server
	for range 2 {
		s := newRacedServer(t)
		s.Run(config(oldKey))
		fleet = append(fleet, s)
	}
	for _, s := range fleet {
		s.AwaitReady()
	}
	a, b := fleet[0], fleet[1]
	_, token := a.Create("acme", "Warehouse sync", "full_access")
	keys := func(s *server) string { return s.Clients(t)[0].Send(t, "GET", jwksPath, nil).Body }
	for _, s := range fleet {
		s.Await("the key, and the keys to sign with", func() bool { return s.status(t, token) == 200 })
		s.Upstream.Take()
	}
	if keys(a) != keys(b) {
		t.Fatalf("got the public keys\n%s and\n%s, want the same on both gateways", keys(a), keys(b))
	}
	signs := func(s *server) string {
		t.Helper()
		return assertion(t, s.wantPassed(t, s.Clients(t)[0].Send(t, "GET", "/", nil, bearer(token)...)))
	}
	verifies := func(when string) {
		t.Helper()
		for from, s := range map[*server]*server{a: b, b: a} {
			if _, err := s.verifier(t, testAudience).Verify(t.Context(), signs(from)); err != nil {
				t.Errorf("%s: got error %v, want each gateway's keys to verify the other's assertions", when, err)
			}
		}
	}
	verifies("at first")
	before := keys(a)
	wantEncryptedIn(t, cluster)

	// The integrity key is replaced as docs/fleet.md says.
	for _, keys := range []string{oldKey + " " + newKey, newKey + " " + oldKey} {
		for _, s := range fleet {
			if out, err := s.Reload(config(keys)); err != nil {
				t.Fatalf("reloading: %v\n%s", err, out)
			}
			s.AwaitReady()
		}
	}
	a.Await("both gateways to seal with the new key", func() bool {
		return a.Command("api-keys", "fleet", "rekey", "--address", a.Admin).Run() == nil
	})
	for _, s := range fleet {
		if out, err := s.Reload(config(newKey)); err != nil {
			t.Fatalf("reloading: %v\n%s", err, out)
		}
		s.AwaitReady()
	}
	verifies("with the new key")
	b.Stop()
	b.restart(config(newKey))
	verifies("after a restart")
	if keys(a) != before || keys(b) != before {
		t.Errorf("got the public keys\n%s and\n%s, want those from before:\n%s", keys(a), keys(b), before)
	}
	wantEncryptedIn(t, cluster)
}

// wantEncryptedIn checks what etcd has of the signing keys.
func wantEncryptedIn(t *testing.T, cluster *etcdtest.Cluster) {
	t.Helper()
	record := cluster.Ctl(t, "get", "--print-value-only", "/api-keys/d/j/keys")
	if strings.Contains(record, `"seed"`) || strings.Count(record, `"encrypted_seed"`) != 2 {
		t.Error("got seeds in etcd that are not encrypted, or none")
	}
	for _, found := range regexp.MustCompile(`"encrypted_seed":"([^"]+)"`).FindAllStringSubmatch(record, -1) {
		if sealed, err := base64.StdEncoding.DecodeString(found[1]); err != nil || len(sealed) != 12+32+16 {
			t.Errorf("got an encrypted seed of %d bytes, %v, want nonce, seed and tag", len(sealed), err)
		}
	}
}
