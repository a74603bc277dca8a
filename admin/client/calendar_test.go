package client_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
)

func TestClient_calendar(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	one, other := create(t, c, "acme", "Zapier production"), create(t, c, "acme", "Warehouse sync")
	whole := must[client.Calendar](t)(c.Calendar(t.Context(), "acme", client.CalendarOptions{}))
	for _, key := range []client.NewKey{one, other} {
		if !strings.Contains(string(whole.Data), key.Key.Name) {
			t.Errorf("got %s, want %s in it", whole.Data, key.Key.Name)
		}
	}
	reminder := must[client.Calendar](t)(c.Calendar(t.Context(), "acme", client.CalendarOptions{KeyID: one.Key.ID}))
	equal(t, "events", strings.Count(string(reminder.Data), "BEGIN:VEVENT"), 1)
	_, err := c.Calendar(t.Context(), "acme", client.CalendarOptions{KeyID: "x"})
	equal(t, "an id that is none", codeOf(err), client.CodeNotFound)

	same := must[client.Calendar](t)(c.Calendar(t.Context(), "acme", client.CalendarOptions{ETag: whole.ETag}))
	equal(t, "not modified", same, client.Calendar{ETag: whole.ETag, NotModified: true})
	must[client.Revocation](t)(c.RevokeKey(t.Context(), "acme", other.Key.ID, ""))
	changed := must[client.Calendar](t)(c.Calendar(t.Context(), "acme", client.CalendarOptions{ETag: whole.ETag}))
	equal(t, "modified", changed.NotModified || changed.ETag == whole.ETag, false)
}

func TestClient_feed(t *testing.T) {
	c := clienttest.NewServer(t).Client()
	create(t, c, "acme", "Zapier production")
	path := must[string](t)(c.CreateFeed(t.Context(), "acme"))
	stranger := &client.Client{BaseURL: c.BaseURL} // without the admin token
	feed := must[client.Calendar](t)(stranger.ReadFeed(t.Context(), path, ""))
	if !strings.Contains(string(feed.Data), "Zapier production") {
		t.Errorf("got %s, want the key in it", feed.Data)
	}
	equal(t, "not modified", must[client.Calendar](t)(c.ReadFeed(t.Context(), path, feed.ETag)).NotModified, true)
	equal(t, "RevokeFeed", must[bool](t)(c.RevokeFeed(t.Context(), "acme")), true)
	equal(t, "RevokeFeed again", must[bool](t)(c.RevokeFeed(t.Context(), "acme")), false)
	_, err := stranger.ReadFeed(t.Context(), path, "")
	equal(t, "a feed that has ended", codeOf(err), client.CodeNotFound)
	_, err = stranger.ReadFeed(t.Context(), "/audit", "")
	equal(t, "no feed", codeOf(err), client.CodeNotFound)
}

// A feed's path is secret: no error contains it. The admin token is not sent with
// it.
func TestClient_feedSecrets(t *testing.T) {
	path := "/calendar/cal_" + strings.Repeat("x", 43) + ".ics"
	sent := ""
	transport := roundTrip(func(r *http.Request) (*http.Response, error) {
		sent = r.Header.Get("Authorization")
		return nil, errors.New("nobody listens")
	})
	for _, base := range []string{"https://example.com", "https://exa mple.com"} {
		c := &client.Client{BaseURL: base, Token: "s3cret", HTTP: &http.Client{Transport: transport}}
		if _, err := c.ReadFeed(t.Context(), path, ""); err == nil || strings.Contains(err.Error(), "cal_") {
			t.Errorf("%s: got error %v, want one without the path", base, err)
		}
	}
	equal(t, "Authorization", sent, "")
}
