package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// inventoryMetrics are those that need the store.
var inventoryMetrics = []string{
	"caddy_api_keys_keys", "caddy_api_keys_expiring_keys", "caddy_api_keys_expiring_keys_in_use",
	"caddy_api_keys_suspended_workspaces", "caddy_api_keys_rate_limited_keys",
	"caddy_api_keys_store_size_bytes", "caddy_api_keys_store_free_bytes",
}

// endsIn returns a change that makes a key expire after a duration.
func endsIn(d time.Duration) func(*apikey.Key) {
	return func(k *apikey.Key) { k.ExpiresAt = k.CreatedAt.Add(d) }
}

// TestInventory: a scrape shows the state at that moment.
func TestInventory(t *testing.T) {
	const day = 24 * time.Hour
	s := serve(t, "\tapi_key_auth {\n\t\trate_limit read 1 1h\n\t}\n\treverse_proxy {{.Upstream}}\n")
	s.create(apikey.FullAccess)
	s.create(apikey.ReadOnly, inWorkspace("globex"))
	s.create(apikey.ReadOnly, expired)
	revoked := s.create(apikey.FullAccess)
	s.apply(apikey.Revoke{WorkspaceID: revoked.WorkspaceID, KeyID: revoked.ID})
	s.apply(apikey.Suspend{WorkspaceID: "globex"})
	soon := s.create(apikey.FullAccess, endsIn(23*time.Hour))
	s.create(apikey.FullAccess, endsIn(6*day))
	s.create(apikey.ReadOnly, endsIn(13*day))
	s.create(apikey.ReadOnly, endsIn(29*day))
	s.send("GET /", soon.bearer()).mustBe(t, 200, "ok")
	s.send("GET /", soon.bearer()).mustBe(t, 429, `{"error":"Too Many Requests."}`)
	if err := s.instance().authn.FlushUses(time.Now(), 0, s.instance().store.NoteUses); err != nil {
		t.Fatal(err)
	}

	for series, want := range map[string]string{
		`caddy_api_keys_keys{preset="full_access",status="active"}`:  "3",
		`caddy_api_keys_keys{preset="full_access",status="expired"}`: "0",
		`caddy_api_keys_keys{preset="full_access",status="revoked"}`: "1",
		`caddy_api_keys_keys{preset="read_only",status="active"}`:    "3",
		`caddy_api_keys_keys{preset="read_only",status="expired"}`:   "1",
		`caddy_api_keys_keys{preset="read_only",status="revoked"}`:   "0",
		`caddy_api_keys_expiring_keys{within="24h"}`:                 "1",
		`caddy_api_keys_expiring_keys{within="7d"}`:                  "2",
		`caddy_api_keys_expiring_keys{within="14d"}`:                 "3",
		`caddy_api_keys_expiring_keys{within="30d"}`:                 "4",
		`caddy_api_keys_expiring_keys_in_use{within="24h"}`:          "1",
		`caddy_api_keys_expiring_keys_in_use{within="7d"}`:           "1",
		`caddy_api_keys_suspended_workspaces`:                        "1",
		`caddy_api_keys_rate_limited_keys`:                           "1",
	} {
		if got := s.metric(series); got != want {
			t.Errorf("got %s %q, want %s", series, got, want)
		}
	}
	for metric, want := range map[string]int{
		"caddy_api_keys_keys": 6, "caddy_api_keys_expiring_keys": 4, "caddy_api_keys_expiring_keys_in_use": 2,
		"caddy_api_keys_store_size_bytes": 2,
	} {
		if _, got := gather(t, metric); got != want {
			t.Errorf("%s: got %d series, want %d", metric, got, want)
		}
	}
	for _, metric := range []string{"caddy_api_keys_store_size_bytes", "caddy_api_keys_store_free_bytes"} {
		if got := sumOf(t, metric); got <= 0 {
			t.Errorf("got %s %v, want more than 0", metric, got)
		}
	}
}

// TestInventory_afterReload: the store of the running configuration is counted,
// even after a reload with another store, or a rejected one.
func TestInventory_afterReload(t *testing.T) {
	s := serve(t, proxied)
	s.create(apikey.FullAccess)
	wantKeys := func(when string, want float64) {
		t.Helper()
		if got := sumOf(t, "caddy_api_keys_keys"); got != want {
			t.Errorf("%s: got %v keys, want %v", when, got, want)
		}
		if got := s.metric(`caddy_api_keys_keys{preset="read_only",status="active"}`); got != "0" {
			t.Errorf("%s: got %q read-only keys from the admin endpoint, want 0", when, got)
		}
	}
	wantKeys("before", 1)
	if err := s.load(proxied + "\tapi_key_admin /y {\n\t\ttoken {env.NOT_SET_ANYWHERE}\n\t}\n"); err == nil {
		t.Fatal("got no error, want the configuration to be refused")
	}
	wantKeys("after a refused reload", 1)
	s.Store = filepath.Join(t.TempDir(), "others")
	s.mustLoad(proxied)
	wantKeys("after a reload with an empty store", 0)
	s.create(apikey.FullAccess)
	s.create(apikey.FullAccess)
	wantKeys("after two keys were made there", 2)
}

// TestChanges: the metric shows whether keys can be revoked, especially when the
// store cannot be counted.
func TestChanges(t *testing.T) {
	s := serve(t, proxied)
	const available = "caddy_api_keys_changes_available"
	if got := s.metric(available); got != "1" {
		t.Errorf("got %s %q, want 1", available, got)
	}
	if err := os.Rename(s.Store, s.Store+".moved"); err != nil {
		t.Fatal(err)
	}
	if got := s.metric(available); got != "0" {
		t.Errorf("without its directory: got %s %q, want 0", available, got)
	}
	if err := os.Rename(s.Store+".moved", s.Store); err != nil {
		t.Fatal(err)
	}
	if got := s.metric(available); got != "1" {
		t.Errorf("with its directory again: got %s %q, want 1", available, got)
	}
}

// TestInventory_unknown: unknown values have no samples, rather than zeros, and the
// failure is counted, and logged once.
func TestInventory_unknown(t *testing.T) {
	for name, fail := range map[string]func(*server) error{
		"the store is closed":        func(s *server) error { return s.instance().store.Close() },
		"its directory is not there": func(s *server) error { return os.Rename(s.Store, s.Store+".moved") },
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, proxied)
			failures := sumOf(t, errorsMetric, "census") // a scrape that succeeds
			if err := fail(s); err != nil {
				t.Fatal(err)
			}
			text := s.call("GET", "/metrics", "").Body
			for _, metric := range inventoryMetrics {
				if strings.Contains(text, "\n"+metric) {
					t.Errorf("got samples of %s, want none", metric)
				}
			}
			if got := sumOf(t, errorsMetric, "census"); got <= failures {
				t.Errorf("got %v failures counted, want more than %v", got, failures)
			}
			if got := said(t, s.logged(), "could not count the keys"); len(got) != 1 {
				t.Errorf("got %d lines in the log, want 1", len(got))
			}
		})
	}
}

// TestInventory_withoutStore: it is not a failure if no configuration uses keys.
func TestInventory_withoutStore(t *testing.T) {
	before := sumOf(t, errorsMetric, "census")
	for _, metric := range inventoryMetrics {
		if _, got := gather(t, metric); got != 0 {
			t.Errorf("%s: got %d series, want none", metric, got)
		}
	}
	if got := sumOf(t, errorsMetric, "census"); got != before {
		t.Errorf("got %v failures, want %v as before", got, before)
	}
}
