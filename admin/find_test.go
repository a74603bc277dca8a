package admin

import (
	"net/http"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ids returns the ids of the workspaces in a list.
func ids(t testing.TB, list reply) []string {
	t.Helper()
	all := []string{}
	for _, ws := range list.body["workspaces"].([]any) {
		all = append(all, ws.(map[string]any)["id"].(string))
	}
	return all
}

func TestListWorkspaces(t *testing.T) {
	a := newAPI(t)
	equal(t, "no workspaces", a.must(t, http.StatusOK, "GET", "/workspaces", "").body, object(t, `{"workspaces":[],"next_cursor":null}`))
	for _, ws := range []string{"globex", "acme", "Initech"} {
		a.create(t, ws, "Zapier")
	}
	id, _ := a.create(t, "acme", "Billing")
	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	a.must(t, http.StatusOK, "POST", "/workspaces/umbrella/suspend", `{"reason":"unpaid"}`)
	list := a.must(t, http.StatusOK, "GET", "/workspaces", "")
	equal(t, "ids", ids(t, list), []string{"Initech", "acme", "globex", "umbrella"})
	equal(t, "next_cursor", list.body["next_cursor"], nil)
	for i, id := range ids(t, list) {
		shown := a.must(t, http.StatusOK, "GET", "/workspaces/"+id, "")
		equal(t, id, list.body["workspaces"].([]any)[i], shown.body["workspace"])
	}
	for query, want := range map[string][]string{
		"?q=": {"Initech", "acme", "globex", "umbrella"}, "?q=E": {"Initech", "acme", "globex", "umbrella"},
		"?q=iNI": {"Initech"}, "?q=x&limit=1": {"globex"}, "?q=none": {}, "?limit=2": {"Initech", "acme"}, "?q=%ff": {},
	} {
		equal(t, "ids with "+query, ids(t, a.must(t, http.StatusOK, "GET", "/workspaces"+query, "")), want)
	}
	var got []string
	for cursor := ""; ; {
		page := a.must(t, http.StatusOK, "GET", "/workspaces?limit=1&cursor="+cursor, "")
		got = append(got, ids(t, page)...)
		next, more := page.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	equal(t, "page by page", got, ids(t, list))
}

func TestFindKeys(t *testing.T) {
	a := newAPI(t)
	a.must(t, http.StatusCreated, "POST", "/workspaces/globex/keys", `{"name":"Short-lived","preset":"full_access","expires_in":"10d","owner":"Kim"}`)
	a.create(t, "globex", "Zapier")
	id, token := a.create(t, "acme", "Zapier")
	revoked, _ := a.create(t, "globex", "Nightly export")
	a.must(t, http.StatusOK, "POST", "/workspaces/globex/keys/"+revoked+"/revoke", "")
	a.at(start.Add(time.Hour))
	for query, want := range map[string][]string{
		"":                                    {"Zapier", "Nightly export", "Zapier", "Short-lived"},
		"?q=ZAP":                              {"Zapier", "Zapier"},
		"?q=kim":                              {"Short-lived"},
		"?q=" + id:                            {"Zapier"},
		"?q=" + token[len(token)-4:]:          {"Zapier"},
		"?q=nothing":                          {},
		"?status=revoked":                     {"Nightly export"},
		"?status=active&q=zap":                {"Zapier", "Zapier"},
		"?expires_within=14d":                 {"Short-lived"},
		"?expires_within=9d":                  {},
		"?expires_within=239h&status=active":  {"Short-lived"},
		"?expires_within=14d&status=revoked":  {},
		"?expires_within=14d&q=zapier":        {},
		"?expires_within=&status=&q=&cursor=": {"Zapier", "Nightly export", "Zapier", "Short-lived"},
		"?limit=2":                            {"Zapier", "Nightly export"},
	} {
		equal(t, "names with "+query, names(t, a.must(t, http.StatusOK, "GET", "/keys"+query, "")), want)
	}
	var got []string
	for cursor := ""; ; {
		page := a.must(t, http.StatusOK, "GET", "/keys?limit=1&cursor="+cursor, "")
		got = append(got, names(t, page)...)
		next, more := page.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = next
	}
	equal(t, "page by page", got, []string{"Zapier", "Nightly export", "Zapier", "Short-lived"})

	found := a.must(t, http.StatusOK, "GET", "/keys/"+id, "")
	equal(t, "by its id", found.body, a.must(t, http.StatusOK, "GET", keysPage+"/"+id, "").body)
	for _, unknown := range []string{someKey, "none", "key_", id + "x", token} {
		a.refused(t, http.StatusNotFound, "not_found", "", "GET", "/keys/"+unknown, "")
	}
}

// A cursor is a place in the list, and nothing else.
func TestFind_cursor(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier")
	for list, places := range map[string][]string{
		"keys":       {"acme", "acme/" + id, "gone", "acme/" + someKey},
		"workspaces": {"acme", "gone"},
	} {
		for _, place := range places {
			a.must(t, http.StatusOK, "GET", "/"+list+"?cursor="+*cursorFor(list, place), "")
		}
		for _, place := range []string{" ", "/", "acme/", "/" + id, ".", "a b", "acme/" + id + "/", "acme/" + apikey.NewEventID(start), "\xff", id + "/acme"} {
			a.refused(t, http.StatusBadRequest, "invalid_cursor", "cursor", "GET", "/"+list+"?cursor="+*cursorFor(list, place), "")
		}
	}
	a.refused(t, http.StatusBadRequest, "invalid_cursor", "cursor", "GET", "/workspaces?cursor="+*cursorFor("workspaces", "acme/"+id), "")
	a.refused(t, http.StatusBadRequest, "invalid_cursor", "cursor", "GET", "/keys?cursor=x", "")
}
