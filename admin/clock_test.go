package admin

import (
	"net/http"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

func TestClock(t *testing.T) {
	a := newAPI(t)
	equal(t, "health", a.must(t, http.StatusOK, "GET", "/healthz", "").body, object(t, `{"status":"ok"}`))
	a.refused(t, http.StatusConflict, "clock_agrees", "", "POST", "/clock/trust", "")

	id, _ := a.create(t, "acme", "Zapier production")
	a.mu.Lock()
	a.behind = 91 * day
	a.mu.Unlock()
	equal(t, "health", a.must(t, http.StatusOK, "GET", "/healthz", "").body, object(t, `{"status":"ok","clock":"behind"}`))
	equal(t, "clock", a.must(t, http.StatusOK, "GET", "/clock", "").body["clock"], any(object(t, `{"status":"behind",
		"machine":"2026-03-01T12:00:00Z","confirmed":"2026-05-31T12:00:00Z","judged":"2026-05-31T12:00:00Z","offset_seconds":-7862400}`)))
	equal(t, "status of a key", a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").body["key"].(map[string]any)["status"], any("expired"))

	a.must(t, http.StatusOK, "POST", "/clock/trust", `{"reason":"NTP has set it"}`)
	event := a.must(t, http.StatusOK, "GET", "/audit?limit=1", "").body["events"].([]any)[0].(map[string]any)
	equal(t, "operation", event["operation"], any("clock"))
	equal(t, "details", event["details"], any(object(t, `{"from":"2026-05-31T12:00:00Z","to":"2026-03-01T12:00:00Z","reason":"NTP has set it","revoked":0,"key_ids":[]}`)))
}

func TestClock_client(t *testing.T) {
	a := newAPI(t)
	got, err := newClient(a.URL).Clock(t.Context())
	if err != nil || got.Status != client.ClockAgrees || !got.Machine.Equal(start) {
		t.Errorf("got %+v, %v, want a clock that agrees", got, err)
	}
	if _, err := newClient(a.URL).TrustClock(t.Context(), "to be sure"); codeOf(err) != client.CodeClockAgrees {
		t.Errorf("got error %v, want clock_agrees", err)
	}
	a.behind = time.Hour
	if got, err := newClient(a.URL).TrustClock(t.Context(), "to be sure"); err != nil || got.Revoked != 0 {
		t.Errorf("got %+v, %v, want it trusted", got, err)
	}
}
