package test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// redirectConfig has a mount on a site that has HTTPS alone, so that Caddy redirects
// requests to its plain address, and logs them like the site does.
const redirectConfig = `{
	admin {{.Admin}}
	skip_install_trust
	api_keys {
		store badger {
			path {{.Store}}
		}
	}
	log {
		level INFO
FORMAT	}
}
http://{{.Plain}}, https://{{.Secure}} {
	tls internal
	log
	api_key_admin {
		base_path /admin
		trust_upstream_auth
	}
}
`

// TestCalendarFeed_redirect asks for a feed at http://, and is redirected. The access log
// says so without the feed's secret. A token in a query is left to the filter of
// docs/operate.md.
func TestCalendarFeed_redirect(t *testing.T) {
	t.Parallel()
	filter := regexp.MustCompile("(?s)\tformat filter \\{\n\t\t\turi .*?\n\t\t}\n").FindString(documents(t)["docs/operate.md"])
	for name, format := range map[string]string{"without a filter": "", "with the filter": filter} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, redirecting(strings.Replace(redirectConfig, "FORMAT", format, 1)))
			feed, query := "/admin/calendar/cal_"+strings.Repeat("Feed5ecret", 5)+".ics", "/me?key=agk_"+strings.Repeat("Query5ecret", 5)
			client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			for _, asked := range []string{feed, feed + "?x=1", query} {
				// Caddy redirects what it has a certificate for, and anything else too.
				for _, host := range []string{s.Plain, "unknown.example.com"} {
					r, err := http.NewRequest("GET", "http://"+s.Plain+asked, nil)
					must(t, err)
					r.Host = host
					resp, err := client.Do(r)
					must(t, err)
					resp.Body.Close()
					if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusPermanentRedirect || !strings.HasSuffix(to, asked) {
						t.Errorf("%s: got %s to %q, want a redirect to the same path", asked, resp.Status, to)
					}
				}
			}
			s.Stop()

			log := s.Log.String()
			if strings.Contains(log, "Feed5ecret") {
				t.Errorf("the log has the feed's secret: %s", log)
			}
			if got, want := strings.Contains(log, "Query5ecret"), format == ""; got != want {
				t.Errorf("the token in the query is in the log: got %t, want %t, in\n%s", got, want, log)
			}
			redirects := 0
			for line := range strings.Lines(log) {
				if strings.Contains(line, `"status":308`) && strings.Contains(line, "/admin/calendar/REDACTED") {
					redirects++
					if !regexp.MustCompile(`"uri":"/admin/calendar/REDACTED".*"Location":\["https://[a-z0-9.:]+/admin/calendar/REDACTED"\]`).MatchString(line) {
						t.Errorf("got the line %s, want what was redirected where, without the secret", line)
					}
				}
			}
			if redirects != 4 {
				t.Errorf("got %d lines about the feed, want 4, in\n%s", redirects, log)
			}
		})
	}
}
