package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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
	s := start(t, feedLogConfig, collected.env...)
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

// TestCalendarFeed_filter asks for a feed where the mount cannot keep its secret out of
// Caddy's logs, and finds that the filter of docs/operate.md does.
func TestCalendarFeed_filter(t *testing.T) {
	t.Parallel()
	filter := regexp.MustCompile("(?s)\tformat filter \\{\n\t\t\turi .*?\n\t\t}\n").FindString(documents(t)["docs/operate.md"])
	if filter == "" {
		t.Fatal("docs/operate.md has no filter")
	}
	for _, test := range []struct {
		name, format string
		want         bool // to find the secret in the log
	}{
		{"without it", "", true},
		{"with it", filter, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, `{
	admin {{.Admin}}
	skip_install_trust
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
	log {
		level DEBUG
`+test.format+`	}
}
http://{{.Plain}} {
	log
	handle_path /admin/* {
		api_key_admin {
			trust_upstream_auth
		}
	}
}
`)
			site := gatewaytest.Client{Name: "HTTP/1.1", Base: "http://" + s.Plain, Client: http.DefaultClient}
			endpoint := gatewaytest.Client{Name: "admin endpoint", Base: "http://" + s.Admin, Client: http.DefaultClient}
			var made struct{ Path string }
			must(t, json.Unmarshal([]byte(site.Send(t, "POST", "/admin/workspaces/acme/calendar/feed", nil).Body), &made))
			secret := strings.TrimSuffix(strings.TrimPrefix(made.Path, "/calendar/cal_"), ".ics")
			// Caddy logs a request after its response, so this could be taken for the next.
			s.Await("the new feed in the log", func() bool { return strings.Contains(s.Log.String(), `"status":`) })

			for where, send := range map[string]func(){
				"the path, rewritten":       func() { site.Send(t, "GET", "/admin"+made.Path, nil) },
				"the path, off the mount":   func() { site.Send(t, "GET", "/admni"+made.Path, nil) },
				"the query":                 func() { site.Send(t, "GET", "/admin/healthz?feed="+secret, nil) },
				"the Referer":               func() { site.Send(t, "GET", "/favicon.ico", nil, "Referer", "http://"+s.Plain+"/admin"+made.Path) },
				"the path, at the endpoint": func() { endpoint.Send(t, "GET", "/api-keys"+made.Path, nil) },
				"the Referer, at the endpoint": func() {
					endpoint.Send(t, "GET", "/api-keys/healthz", nil, "Referer", "http://"+s.Admin+"/api-keys"+made.Path)
				},
			} {
				before := s.Log.String()
				send()
				var written string
				s.Await("the request in the log", func() bool {
					written = strings.TrimPrefix(s.Log.String(), before)
					return strings.Contains(written, `"status":`) || strings.Contains(written, `"received request"`)
				})
				if got := strings.Contains(written, secret); got != test.want {
					t.Errorf("the secret in %s: got %t, want %t, in\n%s", where, got, test.want, written)
				}
			}
		})
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
