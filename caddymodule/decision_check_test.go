package caddymodule_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// check compares the outcome of a request with the model's verdict.
func check(t *testing.T, p policy, errorPage bool, q request, want verdict, got *outcome) {
	if got.Code != want.status {
		t.Errorf("got status %d, want %d", got.Code, want.status)
	}
	header := func(name string, want ...string) {
		t.Helper()
		if got := got.Header()[http.CanonicalHeaderKey(name)]; !slices.Equal(got, want) {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if refused := want.result != "allowed"; refused {
		if errorPage {
			want.body = "the site's page"
			header("Content-Type")
		} else {
			header("Content-Type", "application/json")
		}
		header("Cache-Control", "no-store")
		if q.version == 1 && (q.body != "" || len(q.trailers) > 0) {
			header("Connection", "close")
		}
		if got.readEarly {
			t.Error("the body of a refused request was read before the answer was sent")
		}
		if errorPage == (got.failed == nil) {
			t.Errorf("error routes: got %v", got.failed)
		}
		for name := range got.failed {
			if isIdentity(p, name) || isTokenHeader(p, name) || strings.EqualFold(name, "Authorization") {
				t.Errorf("the error routes see %s", name)
			}
		}
	}
	if want.challenge == "" {
		header("WWW-Authenticate")
	} else {
		header("WWW-Authenticate", want.challenge)
	}
	if allowed := got.Header().Get("Allow") != ""; allowed != (want.status == 405) {
		t.Errorf("got Allow %q", got.Header().Get("Allow"))
	}
	header("Retry-After")
	header("Access-Control-Allow-Origin")
	if want.next != nil && want.key.expires != "" {
		header("X-API-Key-Expires", want.key.expires)
	} else {
		header("X-API-Key-Expires")
	}
	if want.status == 200 && want.next == nil {
		checkWhoami(t, got, want.key)
	} else if got.Body.String() != want.body {
		t.Errorf("got body %q, want %q", got.Body, want.body)
	}
	checkNext(t, p, q, want, got)
	checkLog(t, q, want, got.logLines)
}

func checkWhoami(t *testing.T, got *outcome, key knownKey) {
	var who struct {
		Workspace struct{ ID string }
		Key       struct{ ID, Preset string }
	}
	if err := json.Unmarshal(got.Body.Bytes(), &who); err != nil {
		t.Errorf("whoami: %v in %q", err, got.Body)
	}
	if who.Workspace.ID != key.workspace || who.Key.ID != key.id || who.Key.Preset != key.access {
		t.Errorf("whoami: got %q, want %+v", got.Body, key)
	}
}

// checkNext compares what the next handler saw.
func checkNext(t *testing.T, p policy, q request, want verdict, got *outcome) {
	if (got.next == nil) != (want.next == nil) {
		t.Errorf("the next handler saw %q, want %q", got.next, want.next)
		return
	}
	if len(got.trailer) > 0 {
		t.Errorf("trailers were passed on: %q", got.trailer)
	}
	if got.next == nil {
		return
	}
	var connection []string
	for _, value := range got.next["Connection"] {
		for token := range strings.SplitSeq(value, ",") {
			if token = strings.Trim(token, " \t"); token != "" {
				connection = append(connection, token)
			}
		}
	}
	if !slices.Equal(connection, want.connection) {
		t.Errorf("got Connection %q, want %q", connection, want.connection)
	}
	delete(got.next, "Connection")
	if q.extended != "" && q.version == 2 {
		want.next[":protocol"] = []string{q.extended}
	}
	if !maps.EqualFunc(got.next, want.next, slices.Equal) {
		t.Errorf("the next handler saw\n%q, want\n%q", got.next, want.next)
	}
	for name, values := range got.next { // once more, without the model
		if isOverride(name) || isPath(name) || isIdentity(p, name) && len(values) != 1 {
			t.Errorf("the next handler saw %s: %q", name, values)
		}
	}
	identity := []any{want.key.workspace, want.key.id, want.key.access, want.key.id}
	if !slices.Equal(got.identity, identity) {
		t.Errorf("got placeholders %v, want %v", got.identity, identity)
	}
}

// checkLog checks the access log.
func checkLog(t *testing.T, q request, want verdict, lines string) {
	var entry struct {
		Result    string `json:"api_key_result"`
		KeyID     string `json:"api_key_id"`
		Workspace string `json:"workspace_id"`
	}
	for line := range strings.Lines(lines) {
		if strings.Contains(line, `"logger":"http.log.access`) {
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Errorf("%v in %q", err, line)
			}
		}
	}
	if entry.Result != want.result || entry.KeyID != want.key.id || entry.Workspace != want.key.workspace {
		t.Errorf("logged %+v, want %s of %+v", entry, want.result, want.key)
	}
	elsewhere := func(field [2]string) bool {
		return strings.Contains(field[1], "agk_") && !strings.EqualFold(field[0], "Authorization") && fold(field[0]) != "x-api-key"
	}
	if !slices.ContainsFunc(q.fields, elsewhere) && strings.Contains(lines, "agk_") {
		t.Errorf("a token is in the log: %s", lines)
	}
}
