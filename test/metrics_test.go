package test

import (
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestMetrics_wellFormed has Prometheus' own linter read what the server says of
// keys.
func TestMetrics_wellFormed(t *testing.T) {
	t.Parallel()
	promtool := testenv.Tool(t, "promtool")
	s := start(t, gatewayConfig)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	c := s.Clients(t)[0]
	c.Send(t, "GET", "/public/v1/me", nil, "Authorization", "Bearer "+token)
	c.Send(t, "GET", "/public/v1/me", nil)

	response, err := http.Get("http://" + s.Admin + "/metrics")
	must(t, err)
	defer response.Body.Close()
	all, err := io.ReadAll(response.Body)
	must(t, err)
	ours := strings.Join(regexp.MustCompile(`(?m)^(# (HELP|TYPE) )?caddy_api_keys_.*\n`).FindAllString(string(all), -1), "")

	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(ours)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
	for _, want := range []string{
		`caddy_api_keys_requests_total{access="full_access",action="read",result="allowed"} 1`,
		`caddy_api_keys_requests_total{access="",action="read",result="missing"} 1`,
		`caddy_api_keys_admin_operations_total{operation="create",outcome="ok"} 1`,
		`caddy_api_keys_keys{preset="full_access",status="active"} 1`,
		`caddy_api_keys_expiring_keys{within="30d"} 0`,
		`caddy_api_keys_check_duration_seconds_count 2`,
	} {
		if !strings.Contains(ours, want+"\n") {
			t.Errorf("got no %s in:\n%s", want, ours)
		}
	}
}
