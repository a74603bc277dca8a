package admin

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRevoke(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	path := keysPage + "/" + id
	want := a.must(t, http.StatusOK, "GET", path, "").body
	a.at(start.Add(time.Hour))
	key := want["key"].(map[string]any)
	maps.Copy(key, object(t, `{"status":"revoked","revoked_at":"2026-03-01T13:00:00Z","revoked_by":"tester","revoke_reason":"left"}`))
	equal(t, "revoked", a.must(t, http.StatusOK, "POST", path+"/revoke", `{"reason":" left "}`).body, confirmed(t, want, 2))

	a.at(start.Add(2 * time.Hour))
	equal(t, "again", a.must(t, http.StatusOK, "POST", path+"/revoke", `{"reason":"another"}`).body, confirmed(t, want, 2))
	equal(t, "shown", a.must(t, http.StatusOK, "GET", path, "").body, want)
	equal(t, "events", a.events(t), 2)
	a.create(t, "acme", "Zapier")
}

func TestRevoke_reason(t *testing.T) {
	for _, test := range []struct {
		title, body string
		want        any
	}{
		{"no body", ``, nil},
		{"no reason", `{}`, nil},
		{"empty", `{"reason":"  "}`, nil},
		{"as long as can be", `{"reason":"` + strings.Repeat("ü", 500) + `"}`, strings.Repeat("ü", 500)},
	} {
		t.Run(test.title, func(t *testing.T) {
			a := newAPI(t)
			id, _ := a.create(t, "acme", "Zapier")
			got := a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", test.body)
			equal(t, "revoke_reason", got.body["key"].(map[string]any)["revoke_reason"], test.want)
		})
	}
	for _, body := range []string{`{"reason":"` + strings.Repeat("ü", 501) + `"}`, `{"reason":"a\nb"}`, `{"reason":"a\u202eb"}`} {
		a := newAPI(t)
		id, _ := a.create(t, "acme", "Zapier")
		a.refused(t, http.StatusUnprocessableEntity, "invalid_reason", "reason", "POST", keysPage+"/"+id+"/revoke", body)
		a.refused(t, http.StatusUnprocessableEntity, "invalid_reason", "reason", "POST", "/workspaces/acme/suspend", body)
		equal(t, "events", a.events(t), 1)
	}
}
