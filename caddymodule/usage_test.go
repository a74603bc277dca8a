package caddymodule

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// usage returns how often a key was used, as the API says it, on all days: a test can run
// at midnight.
func (s *server) usage(t *testing.T, k key) (sum client.DayUsage) {
	t.Helper()
	if err := s.instance().authn.FlushUsage(s.instance().store.NoteUsage); err != nil {
		t.Fatal(err)
	}
	var answer struct{ Usage []client.DayUsage }
	got := s.call("GET", "/api-keys/workspaces/"+k.WorkspaceID+"/keys/"+k.ID+"/usage", "")
	if err := json.Unmarshal([]byte(got.Body), &answer); err != nil {
		t.Fatalf("%v in %q", err, got.Body)
	}
	for _, day := range answer.Usage {
		sum.Reads += day.Reads
		sum.Writes += day.Writes
		sum.Refused += day.Refused
		sum.RateLimited += day.RateLimited
	}
	return sum
}

func (s *server) usageIs(t *testing.T, what string, k key, want client.DayUsage) {
	t.Helper()
	if got := s.usage(t, k); got != want {
		t.Errorf("%s: got %+v, want %+v", what, got, want)
	}
}

// TestUsage: every request with a key counts, as what became of it, and once if it passes
// two blocks.
func TestUsage(t *testing.T) {
	s := serve(t, `
	api_key_auth {
		whoami /me
		rate_limit write 1 1h
	}
	handle /strict/* {
		api_key_auth {
			rate_limit read 1 1h
		}
		reverse_proxy {{.Upstream}}
	}
	reverse_proxy {{.Upstream}}
`)
	k, readOnly := s.create(apikey.FullAccess), s.create(apikey.ReadOnly)
	s.usageIs(t, "before the first use", k, client.DayUsage{})
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
	s.send("GET /me", k.bearer())
	s.send("HEAD /me", k.bearer())
	s.send("POST /", k.bearer()).mustBe(t, 200, "ok")
	s.send("POST /", k.bearer()).mustBe(t, 429, `{"error":"Too Many Requests."}`)
	s.send("GET /", k.bearer()+"Sec-Fetch-Site: cross-site\r\n").mustBe(t, 403, bodies[403])
	s.send("TRACE /", k.bearer()).mustBe(t, 405, bodies[405])
	s.usageIs(t, "used", k, client.DayUsage{Reads: 3, Writes: 1, Refused: 1, RateLimited: 1})
	s.send("GET /strict/", k.bearer()).mustBe(t, 200, "ok")
	s.send("GET /strict/", k.bearer()).mustBe(t, 429, `{"error":"Too Many Requests."}`) // which the first block has let pass
	s.usageIs(t, "with two blocks", k, client.DayUsage{Reads: 5, Writes: 1, Refused: 1, RateLimited: 2})
	s.apply(apikey.Revoke{WorkspaceID: k.WorkspaceID, KeyID: k.ID})
	s.send("GET /", k.bearer()).mustBe(t, 401, bodies[401])
	s.usageIs(t, "once it was revoked", k, client.DayUsage{Reads: 5, Writes: 1, Refused: 2, RateLimited: 2})

	s.send("POST /", readOnly.bearer()).mustBe(t, 403, bodies[403])
	s.apply(apikey.Suspend{WorkspaceID: readOnly.WorkspaceID})
	s.send("GET /", readOnly.bearer()).mustBe(t, 403, bodies[403])
	s.usageIs(t, "of a read-only key", readOnly, client.DayUsage{Refused: 2})
}

// TestUsage_reload: what was counted under the old configuration is not lost.
func TestUsage_reload(t *testing.T) {
	s := serve(t, proxied)
	k := s.create(apikey.FullAccess)
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
	s.mustLoad(proxied + "\tlog\n")
	s.send("GET /", k.bearer()).mustBe(t, 200, "ok")
	s.usageIs(t, "used", k, client.DayUsage{Reads: 2})
}

// TestInstance_usage: what was counted is written when the store is closed.
func TestInstance_usage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	token, key := newTestKey("Zapier")
	for n := range uint64(3) {
		i, closeIt := openTestInstance(t, path, plainSettings, zap.NewNop())
		if n == 0 {
			i.mustChange(t, apikey.Create{Key: key})
		}
		usage, err := i.store.Usage(t.Context(), key.WorkspaceID, []string{key.ID}, 0, apikey.DayOf(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		var reads uint64
		for _, day := range usage[key.ID] {
			reads += day.Reads
		}
		if reads != n {
			t.Errorf("at start %d: got %d reads, want %d", n, reads, n)
		}
		i.check(token)
		closeIt()
	}
}
