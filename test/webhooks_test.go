package test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// What happens to keys and workspaces is sent, signed, in the order in which it has happened.
func TestWebhooks_events(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	s := startHooked(t, r)
	keys := s.Keys()
	key, token := s.Create("acme", "Zapier production", "full_access")
	rotation, err := keys.RotateKey(t.Context(), "acme", key.ID, client.RotateRequest{})
	must(t, err)
	_, err = keys.RevokeKey(t.Context(), "acme", key.ID, "replaced")
	must(t, err)
	_, err = keys.RevokeKey(t.Context(), "acme", key.ID, "again")
	must(t, err)
	_, err = keys.Suspend(t.Context(), "acme", "unpaid")
	must(t, err)
	_, err = keys.Resume(t.Context(), "acme")
	must(t, err)
	_, err = keys.RevokeAll(t.Context(), "acme", "leaving")
	must(t, err)
	for _, want := range []struct {
		kind, key, replacedBy, status string
	}{
		{"key.created", key.ID, "", "active"},
		{"key.rotated", key.ID, rotation.Key.ID, "active"},
		{"key.revoked", key.ID, rotation.Key.ID, "revoked"},
		{"key.revoked", rotation.Key.ID, "", "revoked"},
	} {
		found := slices.ContainsFunc(r.await(6), func(m hookMessage) bool {
			return m.Type == want.kind && m.Data.WorkspaceID == "acme" && m.Data.Key != nil && m.Data.Key.ID == want.key && m.Data.Key.Status == want.status &&
				(want.replacedBy == "" || *m.Data.Key.ReplacedBy == want.replacedBy)
		})
		if !found {
			t.Errorf("got no %s of %s: %v", want.kind, want.key, r.received())
		}
	}
	var ofKey, ofWorkspace []string
	for _, m := range r.received() {
		switch {
		case m.Data.Key == nil:
			ofWorkspace = append(ofWorkspace, m.Type)
		case m.Data.Key.ID == key.ID:
			ofKey = append(ofKey, m.Type)
		}
		if strings.Contains(m.Body, token) || strings.Contains(m.Body, rotation.Token) || time.Since(m.Timestamp) > time.Hour {
			t.Errorf("got %s", m.Body)
		}
	}
	if want := []string{"key.created", "key.rotated", "key.revoked"}; !slices.Equal(ofKey, want) {
		t.Errorf("got %v of the key, want %v", ofKey, want)
	}
	if want := []string{"workspace.suspended", "workspace.resumed"}; !slices.Equal(ofWorkspace, want) {
		t.Errorf("got %v of the workspace, want %v", ofWorkspace, want)
	}
	s.wantPending(0)
	if got := s.deliveries("ok"); got != 6 {
		t.Errorf("got %v messages counted as received, want 6", got)
	}
}

// wantPending waits until so many messages are pending.
func (s *server) wantPending(want float64) {
	s.T.Helper()
	s.Await("the pending messages", func() bool { return s.metrics()["caddy_api_keys_webhook_pending"] == want })
}

func (s *server) deliveries(outcome string) float64 {
	return s.metrics()[`caddy_api_keys_webhook_deliveries_total{outcome="`+outcome+`"}`]
}

// A time that has come is announced, too.
func TestWebhooks_expiring(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	s := startHooked(t, r, "events key.expiring key.expired", "expiring 30d 1h 59m")
	long, short := "40d", "2s"
	_, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Zapier production", Preset: "read_only", ExpiresIn: &long})
	must(t, err)
	made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Warehouse sync", Preset: "read_only", ExpiresIn: &short})
	must(t, err)
	got := r.await(2)
	if got[0].Type != "key.expiring" || got[0].Data.Within != "59m" || got[1].Type != "key.expired" || got[1].Data.Within != "" {
		t.Errorf("got %v, want it to expire within 59m, the shortest, and then to have expired", got)
	}
	for _, m := range got {
		if m.Data.Key.ID != made.Key.ID {
			t.Errorf("got a message about %s, want %s", m.Data.Key.ID, made.Key.ID)
		}
	}
	if late := got[1].At.Sub(made.Key.ExpiresAt); late > 5*time.Second {
		t.Errorf("got key.expired after %v, want it within 5s", late)
	}
}

// One webhook that hangs, one that redirects, one that is gone, and trouble with one key delay
// nothing else.
func TestWebhooks_trouble(t *testing.T) {
	t.Parallel()
	good, hangs, redirects, gone := newHookReceiver(t), newHookReceiver(t), newHookReceiver(t), newHookReceiver(t)
	var troubled string
	good.say(func(m hookMessage, w http.ResponseWriter) {
		status := http.StatusOK
		if m.Data.Key.ID == troubled {
			status = http.StatusInternalServerError
		}
		w.WriteHeader(status)
	})
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	hangs.say(func(_ hookMessage, w http.ResponseWriter) {
		<-over
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	redirects.say(func(_ hookMessage, w http.ResponseWriter) {
		w.Header().Set("Location", good.server.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	gone.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })
	s := startRaced(t, withWebhooks(hangs.option(), redirects.option(), gone.option(), good.option()), "HOOK_SECRET="+good.secret)
	first, _ := s.Create("acme", "In trouble", "read_only")
	good.mu.Lock()
	troubled = first.ID
	good.mu.Unlock()
	s.Revoke(first)
	before := len(good.received())
	for _, name := range []string{"Zapier production", "Warehouse sync", "Export job"} {
		key, _ := s.Create("acme", name, "read_only")
		s.Revoke(key)
	}
	good.await(before + 6)
	s.Await("the same message again", func() bool {
		tries := ofKey(good.tries(), first.ID)
		last := tries[len(tries)-1]
		return slices.ContainsFunc(tries[:len(tries)-1], func(m hookMessage) bool { return m.ID == last.ID && m.Body == last.Body })
	})
	if n := len(gone.tries()); n == 0 || n > 16 {
		t.Errorf("got %d messages sent to the webhook that is gone, want no more after the first answers", n)
	}
	s.Await("the lines in the log", func() bool {
		return strings.Contains(s.Log.String(), "wants no more messages") && strings.Contains(s.Log.String(), "redirects are not followed")
	})
	good.say(nil)
	s.Await("the message after the trouble", func() bool {
		return slices.ContainsFunc(ofKey(good.received(), first.ID), func(m hookMessage) bool { return m.Type == "key.revoked" })
	})
}

// ofKey returns the messages about a key.
func ofKey(messages []hookMessage, id string) (about []hookMessage) {
	for _, m := range messages {
		if m.Data.Key != nil && m.Data.Key.ID == id {
			about = append(about, m)
		}
	}
	return about
}

// A gateway that is killed before a message was confirmed sends it after its next start, at
// once and with the same id.
func TestWebhooks_killed(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	r.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) })
	s := startHooked(t, r)
	config := withWebhooks(r.option())
	var ids []string
	for _, name := range []string{"Zapier production", "Warehouse sync", "Export job"} {
		key, _ := s.Create("acme", name, "read_only")
		s.Revoke(key)
		ids = append(ids, key.ID)
	}
	s.kill(t)
	tried := r.tries()
	r.say(nil)
	s.runAgain(config)
	s.AwaitReady()
	r.await(6)
	for _, id := range ids {
		if got := ofKey(r.received(), id); len(got) != 2 || got[0].Type != "key.created" || got[1].Type != "key.revoked" {
			t.Errorf("%s: got %v, want it to have been created and revoked", id, got)
		}
	}
	for _, m := range tried {
		if !slices.ContainsFunc(r.received(), func(again hookMessage) bool { return again.ID == m.ID && again.Body == m.Body }) {
			t.Errorf("%s was tried before, and not again", m.ID)
		}
	}
	s.wantPending(0)
}

// A reload takes new secrets into use, loses nothing, and makes a webhook that is gone be
// asked again.
func TestWebhooks_reload(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	r.say(func(_ hookMessage, w http.ResponseWriter) { w.WriteHeader(http.StatusGone) })
	s := startHooked(t, r)
	for range 3 {
		_, err := s.Reload(withWebhooks(r.option()))
		must(t, err)
	}
	s.Create("acme", "Zapier production", "read_only")
	s.Await("the line in the log", func() bool { return strings.Contains(s.Log.String(), "wants no more messages") })
	r.say(nil)
	former := r.secret
	r.mu.Lock()
	r.secret = hookSecret("another")
	r.mu.Unlock()
	rotated := strings.Replace(withWebhooks(r.option()), "{env.HOOK_SECRET}", r.secret+" {env.HOOK_SECRET}", 1)
	if out, err := s.Reload(rotated); err != nil {
		t.Fatal(out)
	}
	r.await(1)
	refused := strings.Replace(rotated, "{env.HOOK_SECRET}", "{env.NOT_SET}", 1)
	if out, err := s.Reload(refused); err == nil || strings.Contains(out, former) || strings.Contains(out, r.secret) {
		t.Errorf("got %v: %s, want it refused without the secrets", err, out)
	}
	s.Create("acme", "Warehouse sync", "read_only")
	r.await(2)
	s.wantPending(0)
}

// A gateway that stops while a webhook hangs does so at once.
func TestWebhooks_stop(t *testing.T) {
	t.Parallel()
	r := newHookReceiver(t)
	over := make(chan struct{})
	arrived := make(chan struct{}, 100)
	t.Cleanup(func() { close(over) })
	r.say(func(_ hookMessage, w http.ResponseWriter) {
		arrived <- struct{}{}
		<-over
		w.WriteHeader(http.StatusBadGateway)
	})
	s := startHooked(t, r)
	s.Create("acme", "Zapier production", "read_only")
	<-arrived
	begun := time.Now()
	s.Stop()
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("got it stopped after %v, want seconds", took)
	}
}
