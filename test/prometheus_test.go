package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// prometheus is a running Prometheus, which scrapes a server every second and evaluates
// the rules in deploy.
type prometheus struct {
	s       *server
	address string
}

// startPrometheus runs a Prometheus, with more arguments, until the test ends.
func startPrometheus(t *testing.T, s *server, args ...string) *prometheus {
	t.Helper()
	program := testenv.Tool(t, "prometheus")
	shipped, err := filepath.Abs(rulesFile)
	must(t, err)
	dir := t.TempDir()
	config := filepath.Join(dir, "prometheus.yml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
  - job_name: caddy-api-keys
    static_configs: [{targets: [%q]}]
`, shipped, s.Plain), 0o600))

	p := &prometheus{s, gatewaytest.Address(t)}
	var said gatewaytest.Log
	cmd := exec.Command(program, append(args, "--config.file", config, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", p.address, "--log.level", "warn")...)
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("Prometheus said:\n%s", said.Tail(4000))
		}
	})
	s.Await("the first scrape", func() bool {
		samples, err := p.query("caddy_api_keys_requests_total")
		return err == nil && len(samples) > 0
	})
	return p
}

// sample is one series in the result of a query, with its value.
type sample struct {
	Metric map[string]string
	Value  [2]any // the time, and the value as text
}

func (s sample) value(t *testing.T) float64 {
	t.Helper()
	text, _ := s.Value[1].(string)
	value, err := strconv.ParseFloat(text, 64)
	must(t, err)
	return value
}

// get calls the API of Prometheus.
func (p *prometheus) get(path string, into any) error {
	response, err := http.Get("http://" + p.address + "/api/v1/" + path)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %s", response.StatusCode, body)
	}
	return json.Unmarshal(body, into)
}

// query returns the current value of an expression, which must be a vector.
func (p *prometheus) query(expr string) ([]sample, error) {
	var answer struct{ Data struct{ Result []sample } }
	err := p.get("query?query="+url.QueryEscape(expr), &answer)
	return answer.Data.Result, err
}

// wantValue waits until an expression has the given value: a change is visible only
// after the next scrape.
func (p *prometheus) wantValue(expr string, want float64) {
	p.s.T.Helper()
	var got float64
	deadline := time.Now().Add(15 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		samples, err := p.query(expr)
		must(p.s.T, err)
		got = math.NaN()
		if len(samples) == 1 {
			got = samples[0].value(p.s.T)
		}
		if math.Abs(got-want) < 1e-6 {
			return
		}
	}
	p.s.T.Errorf("got %v, want %v, from:\n%s", got, want, expr)
}

// watchedConfig is a gateway with everything that has metrics, and Caddy's metrics
// handler.
const watchedConfig = `{
	admin {{.Admin}}
	grace_period 5s
	api_keys {
		store badger {
			path {{.Store}}
		}
		last_used_resolution 1s
	}
}
http://{{.Plain}} {
	metrics /metrics
	api_key_auth /public/* {
		rate_limit read 4 1h
		rate_limit write 4 1h
	}
	reverse_proxy {{.Upstream}}
}
`

// drive makes requests with every result that a client can cause, and changes through
// the admin API. It returns how many requests had each result.
func drive(t *testing.T, s *server) map[string]int {
	t.Helper()
	tomorrow := "12h"
	ending, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{
		Name: "Warehouse sync", Preset: "full_access", ExpiresIn: &tomorrow})
	must(t, err)
	full := ending.Token
	_, readOnly := s.Create("acme", "Zapier production", "read_only")
	old, revoked := s.Create("acme", "Old export job", "full_access")
	s.Revoke(old)
	_, suspended := s.Create("globex", "Globex billing", "full_access")
	s.Post("/workspaces/globex/suspend")
	_, expired := s.CreateExpired(t)

	bearer := func(token string) []string { return []string{"Authorization", "Bearer " + token} }
	made := make(map[string]int)
	for _, request := range []struct {
		result, method string
		times          int
		fields         []string
	}{
		{"allowed", "GET", 4, bearer(full)},
		{"rate_limited", "GET", 2, bearer(full)},
		{"allowed", "GET", 3, bearer(readOnly)},
		{"read_only", "POST", 2, bearer(readOnly)},
		{"missing", "GET", 3, nil},
		{"malformed", "GET", 1, bearer("agk_short")},
		{"unknown", "GET", 2, bearer(gatewaytest.OtherToken(full))},
		{"expired", "GET", 1, bearer(expired)},
		{"revoked", "GET", 1, bearer(revoked)},
		{"suspended", "GET", 1, bearer(suspended)},
		{"browser", "GET", 1, append(bearer(full), "Sec-Fetch-Site", "cross-site")},
		{"preflight", "OPTIONS", 1, []string{"Origin", "https://app.example", "Access-Control-Request-Method", "GET"}},
		{"method", "TRACE", 1, bearer(full)},
		{"early_data", "POST", 1, append(bearer(full), "Early-Data", "1")},
	} {
		for range request.times {
			s.Clients(t)[0].Send(t, request.method, "/public/v1/contacts", nil, request.fields...)
		}
		made[request.result] += request.times
	}
	return made
}

// TestPrometheus has a Prometheus scrape the server, and evaluates the rules, the
// dashboard's queries and those in the documentation.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	s := start(t, watchedConfig)
	p := startPrometheus(t, s)
	made := drive(t, s)
	all := 0
	for result, n := range made {
		all += n
		p.wantValue(`sum(caddy_api_keys_requests_total{result="`+result+`"})`, float64(n))
	}
	t.Run("queries", func(t *testing.T) { queriesAnswer(t, p, made["allowed"], all) })
	t.Run("rules", func(t *testing.T) { rulesEvaluate(t, p, made["allowed"], all) })
	t.Run("shipped", func(t *testing.T) { shippedAreTaken(t, p) })
}

// TestPrometheus_nativeHistograms checks that rules and dashboard also show how long
// checks take if Prometheus scrapes native histograms, and so has no buckets.
func TestPrometheus_nativeHistograms(t *testing.T) {
	t.Parallel()
	s := start(t, watchedConfig)
	p := startPrometheus(t, s, "--enable-feature=native-histograms")
	drive(t, s)
	s.Await("a native histogram", func() bool {
		samples, err := p.query(`histogram_count(caddy_api_keys_check_duration_seconds) > 0`)
		must(t, err)
		return len(samples) == 1
	})
	buckets, err := p.query(`caddy_api_keys_check_duration_seconds_bucket`)
	if must(t, err); len(buckets) > 0 {
		t.Fatalf("got %d buckets, want a native histogram in their place", len(buckets))
	}
	asked := 0
	for _, q := range queries(t) {
		if !strings.Contains(q.expr, "caddy_api_keys_check_duration_seconds") {
			continue
		}
		asked++
		expr, _, _ := strings.Cut(q.expr, " > ") // the value, not whether it is alarming
		s.Await(q.at, func() bool {
			samples, err := p.query(expr)
			must(t, err)
			return len(samples) == 1
		})
	}
	if asked < 6 {
		t.Errorf("asked %d queries, want those of the rules, the dashboard and the documents", asked)
	}
}

// queriesAnswer checks what the metrics say after drive, with queries as an operator
// would write them.
func queriesAnswer(t *testing.T, p *prometheus, allowed, all int) {
	refused := float64(all-allowed) / float64(all)
	for _, test := range []struct {
		expr string
		want float64
	}{
		{`sum(increase(caddy_api_keys_requests_total{result!="allowed"}[5m])) / sum(increase(caddy_api_keys_requests_total[5m]))`, refused},
		{`sum(caddy_api_keys_requests_total{access="read_only", action="write"})`, 2},
		{`caddy_api_keys_check_duration_seconds_count`, float64(all)},
		{`histogram_quantile(0.99, sum by (le) (rate(caddy_api_keys_check_duration_seconds_bucket[5m]))) > bool 0`, 1},
		{`caddy_api_keys_expiring_keys{within="24h"}`, 1},
		{`caddy_api_keys_expiring_keys_in_use{within="24h"}`, 1},
		{`caddy_api_keys_expiring_keys_in_use{within="7d"}`, 1},
		{`sum(caddy_api_keys_keys{status="active"})`, 3},
		{`sum(caddy_api_keys_keys{status="revoked"})`, 1},
		{`sum(caddy_api_keys_keys{status="expired"})`, 1},
		{`caddy_api_keys_suspended_workspaces`, 1},
		{`caddy_api_keys_rate_limited_keys`, 1},
		{`sum(caddy_api_keys_admin_operations_total{operation="create", outcome="ok"})`, 5},
		{`sum(caddy_api_keys_admin_operations_total{operation="revoke", outcome="ok"})`, 1},
		{`sum(caddy_api_keys_store_errors_total)`, 0},
		{`caddy_api_keys_store_free_bytes > bool 0`, 1},
		{`sum(caddy_api_keys_store_size_bytes) > bool 0`, 1},
	} {
		p.wantValue(test.expr, test.want)
	}
	hits, err := p.query(`sum(caddy_api_keys_cache_lookups_total{outcome="hit"}) / sum(caddy_api_keys_cache_lookups_total)`)
	must(t, err)
	if len(hits) != 1 || hits[0].value(t) <= 0 || hits[0].value(t) >= 1 {
		t.Errorf("got the share of hits %v, want it between 0 and 1", hits)
	}
}

// rulesEvaluate checks that every recording rule has a result, and that no rule fails.
func rulesEvaluate(t *testing.T, p *prometheus, allowed, all int) {
	p.wantValue(`job:caddy_api_keys_refusals_per_requests:ratio_rate5m`, float64(all-allowed)/float64(all))
	for _, r := range rules(t) {
		if r.Record == "" {
			continue
		}
		p.s.Await(r.Record, func() bool {
			samples, err := p.query(r.Record)
			must(t, err)
			return len(samples) > 0
		})
	}
	var loaded struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	must(t, p.get("rules", &loaded))
	n := 0
	for _, group := range loaded.Data.Groups {
		for _, rule := range group.Rules {
			n++
			if rule.Health != "ok" {
				t.Errorf("%s: got the health %q (%s), want ok", rule.Name, rule.Health, rule.LastError)
			}
		}
	}
	if want := len(rules(t)); n != want {
		t.Errorf("got %d rules, want %d", n, want)
	}
}

// shippedAreTaken checks that Prometheus accepts every expression, including those of
// the dashboard and the documentation.
func shippedAreTaken(t *testing.T, p *prometheus) {
	for _, q := range queries(t) {
		if _, err := p.query(q.expr); err != nil {
			t.Errorf("%s: %v\n%s", q.at, err, q.expr)
		}
	}
}
