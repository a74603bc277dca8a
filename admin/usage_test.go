package admin

import (
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

func TestUsage(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier production")
	unused, _ := a.create(t, "acme", "Warehouse sync")
	usage := func(id, query string) any {
		return a.must(t, http.StatusOK, "GET", keysPage+"/"+id+"/usage"+query, "").body["usage"]
	}
	equal(t, "before the first use", usage(id, ""), any([]any{}))

	today := apikey.DayOf(start)
	if err := a.store.NoteUsage(map[apikey.KeyDay]apikey.Usage{
		{KeyID: id, Day: today}:      {Reads: 7, Writes: 2, Refused: 1, RateLimited: 3},
		{KeyID: id, Day: today - 1}:  {Reads: 1},
		{KeyID: id, Day: today - 30}: {Writes: 1},
		{KeyID: id, Day: today - 89}: {Refused: 1},
		{KeyID: id, Day: today - 90}: {Reads: 90},
		{KeyID: id, Day: today + 1}:  {Reads: 1},
	}); err != nil {
		t.Fatal(err)
	}
	day := func(day string, reads, writes, refused, limited float64) any {
		return map[string]any{"day": day, "reads": reads, "writes": writes, "refused": refused, "rate_limited": limited}
	}
	month := []any{day("2026-02-28", 1, 0, 0, 0), day("2026-03-01", 7, 2, 1, 3)}
	equal(t, "today", usage(id, "?days=1"), any(month[1:]))
	equal(t, "without a number", usage(id, ""), any(month))
	equal(t, "a month", usage(id, "?days=30"), any(month))
	equal(t, "a day more", usage(id, "?days=31"), any(append([]any{day("2026-01-30", 0, 1, 0, 0)}, month...)))
	equal(t, "the longest", usage(id, "?days=90"), any(append([]any{day("2025-12-02", 0, 0, 1, 0), day("2026-01-30", 0, 1, 0, 0)}, month...)))

	a.must(t, http.StatusOK, "POST", keysPage+"/"+id+"/revoke", "")
	equal(t, "of a revoked key", usage(id, ""), any(month))
	for _, path := range []string{"/workspaces/globex/keys/" + id, keysPage + "/" + someKey} {
		a.refused(t, http.StatusNotFound, "not_found", "", "GET", path+"/usage", "")
	}

	several := a.must(t, http.StatusOK, "GET", "/workspaces/acme/usage?days=2&keys="+id+","+unused+","+someKey, "").body["usage"]
	equal(t, "of several keys", several, any(map[string]any{id: month, unused: []any{}}))
	equal(t, "in another workspace", a.must(t, http.StatusOK, "GET", "/workspaces/globex/usage?keys="+id, "").body["usage"], any(map[string]any{}))
}

func TestUsage_invalid(t *testing.T) {
	a := newAPI(t)
	id, _ := a.create(t, "acme", "Zapier production")
	for _, path := range []string{keysPage + "/" + id + "/usage?", "/workspaces/acme/usage?keys=" + id + "&"} {
		for _, days := range []string{"0", "91", "-1", "030", "%2B5", "x", "", "1&days=1"} {
			a.refused(t, http.StatusBadRequest, "invalid_days", "days", "GET", path+"days="+days, "")
		}
	}
	for _, keys := range []string{"", "?keys=", "?keys=x", "?keys=" + id + ",", "?keys=" + id + "&keys=" + id, "?keys=" + strings.Repeat(id+",", 200) + id} {
		a.refused(t, http.StatusBadRequest, "invalid_query", "keys", "GET", "/workspaces/acme/usage"+keys, "")
	}
	a.must(t, http.StatusOK, "GET", "/workspaces/acme/usage?keys="+strings.Repeat(id+",", 199)+id, "")
}
