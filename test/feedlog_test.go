package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// feedLogConfig logs all that Caddy can, into its own log and into those of sites, and
// traces requests.
const feedLogConfig = `{
	admin {{.Admin}}
	debug
	skip_install_trust
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
	servers {
		trace
	}
}
http://{{.Plain}} {
	log {
		output file site.log
		format json
	}
	log errors {
		output file named.log
		format json
		no_hostname
	}
	tracing {
		span feeds
	}
	@named path /named/*
	log_name @named errors
	@silent path /silent/*
	log_skip @silent
	handle {
		api_key_admin {
			base_path /admin
			trust_upstream_auth
		}
		api_key_admin {
			base_path /named
			trust_upstream_auth
		}
		api_key_admin {
			base_path /silent
			trust_upstream_auth
		}
	}
}
`

// TestCalendarFeed_secretIsInNoLog asks for a feed, and for what looks like one, in
// every way, and looks for its token in all that is written of it. That it was asked
// for is in the access log nevertheless.
func TestCalendarFeed_secretIsInNoLog(t *testing.T) {
	t.Parallel()
	collected := collect(t)
	s := startWith(t, collected.env, feedLogConfig)
	site := gatewaytest.Client{Name: "HTTP/1.1", Base: "http://" + s.Plain, Client: http.DefaultClient}
	var made struct{ Path string }
	got := site.Send(t, "POST", "/admin/workspaces/acme/calendar/feed", nil)
	must(t, json.Unmarshal([]byte(got.Body), &made))
	path := made.Path
	secret := strings.TrimSuffix(strings.TrimPrefix(path, "/calendar/cal_"), ".ics")
	for _, test := range []struct {
		method, path string
		status       int
	}{
		{"GET", path, 200}, {"HEAD", path, 200}, {"POST", path, 405}, {"DELETE", path, 405},
		{"GET", strings.TrimSuffix(path, ".ics"), 404}, {"GET", path + "/", 404}, {"GET", path + "?x=" + secret, 200},
		{"GET", strings.Replace(path, "cal_", "c%61l_", 1), 200}, {"GET", strings.Replace(path, "/calendar/", "/calendar%2F", 1), 404},
		{"GET", "/workspaces/acme" + path, 404}, {"GET", "/workspaces/" + path[len("/calendar/"):] + "/keys", 422},
	} {
		for _, mount := range []string{"/admin", "/named", "/silent"} {
			if got := site.Send(t, test.method, mount+test.path, nil); got.Status != test.status {
				t.Errorf("%s %s: got %d %s, want %d", test.method, mount+test.path, got.Status, got.Body, test.status)
			}
		}
	}
	s.Stop()

	_, traced := collected.received(t)
	all := map[string]string{"the server's log": s.Log.String(), "the traces": string(traced)}
	for _, name := range []string{"site.log", "named.log"} {
		content, err := os.ReadFile(filepath.Join(s.Dir, name))
		must(t, err)
		all[name] = string(content)
	}
	for where, content := range all {
		if strings.Contains(content, secret) {
			i := strings.Index(content, secret)
			t.Errorf("%s has the secret: %s", where, content[max(0, i-300):min(len(content), i+80)])
		}
	}
	if !bytes.Contains(traced, []byte("/admin/calendar/REDACTED")) {
		t.Error("the traces do not say what was asked for")
	}
	lines := accessLines(t, all["site.log"])
	if len(lines) < 2 || lines[0].Request.URI != "/admin/workspaces/acme/calendar/feed" {
		t.Fatalf("got the lines %+v, want that of the making of the feed first", lines)
	}
	first := lines[1]
	if first.Request.URI != "/admin/calendar/REDACTED" || first.Status != 200 || first.Size == 0 || first.Request.RemoteIP == "" || first.Msg != "handled request" ||
		len(first.Headers["Content-Type"]) == 0 || first.Logger != lines[0].Logger {
		t.Errorf("got the line %+v, want one of the same form", first)
	}
	for _, mount := range []string{"/named/", "/silent/"} {
		if strings.Contains(all["site.log"], mount) {
			t.Errorf("the site's log has requests of %s, which are logged elsewhere, or not at all", mount)
		}
	}
	if len(accessLines(t, all["named.log"])) == 0 || strings.Contains(all["named.log"], "/silent/") {
		t.Errorf("got %s in the other log, want the requests that log_name sends there", all["named.log"])
	}
}

type accessLine struct {
	Msg, Logger  string
	Status, Size int
	Request      struct {
		URI      string
		RemoteIP string `json:"remote_ip"`
	}
	Headers map[string][]string `json:"resp_headers"`
}

func accessLines(t *testing.T, log string) (lines []accessLine) {
	t.Helper()
	for text := range strings.Lines(log) {
		var line accessLine
		must(t, json.Unmarshal([]byte(text), &line))
		lines = append(lines, line)
	}
	return lines
}
