package caddymodule

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// gather returns the sum of a metric over the series with all the given labels,
// each a value or name=value, and the number of those series. A histogram counts by
// its observations.
func gather(t *testing.T, name string, labels ...string) (total float64, series int) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := collectors.Register(registry); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			var values []string
			for _, label := range metric.GetLabel() {
				values = append(values, label.GetValue(), label.GetName()+"="+label.GetValue())
			}
			if slices.ContainsFunc(labels, func(want string) bool { return !slices.Contains(values, want) }) {
				continue
			}
			series++
			total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return total, series
}

// sumOf returns the sum of a metric over the series with the given labels.
func sumOf(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	total, _ := gather(t, name, labels...)
	return total
}

// mustBeRefused checks for an error of the admin API.
func (a answer) mustBeRefused(t *testing.T, status int, code string) {
	t.Helper()
	if a.Status != status || !strings.Contains(a.Body, `"code":"`+code+`"`) {
		t.Errorf("got %d %s, want %d %s", a.Status, a.Body, status, code)
	}
}

const (
	checkMetric    = "caddy_api_keys_check_duration_seconds"
	requestsMetric = "caddy_api_keys_requests_total"
	errorsMetric   = "caddy_api_keys_store_errors_total"
)

// TestMetrics_checkDuration: every request that is judged is timed, with any
// result, and no others.
func TestMetrics_checkDuration(t *testing.T) {
	s := serve(t, "\troute /public/* {\n\t\tapi_key_auth\n\t\treverse_proxy {{.Upstream}}\n\t}\n\trespond elsewhere\n")
	k := s.create(apikey.ReadOnly)
	timed, judged := sumOf(t, checkMetric), sumOf(t, requestsMetric)
	if timed != judged {
		t.Errorf("got %v checks timed and %v requests counted before, want as many", timed, judged)
	}
	s.send("GET /public/v1/me", k.bearer()).mustBe(t, 200, "ok")
	s.send("POST /public/v1/me", k.bearer()).mustBe(t, 403, bodies[403])
	s.send("GET /public/v1/me", "").mustBe(t, 401, bodies[401])
	s.send("TRACE /public/v1/me", "").mustBe(t, 405, bodies[405])
	s.send("GET /", "").mustBe(t, 200, "elsewhere")
	if got, want := sumOf(t, checkMetric), timed+4; got != want {
		t.Errorf("got %v checks timed, want %v", got, want)
	}
	if got, want := sumOf(t, requestsMetric), judged+4; got != want {
		t.Errorf("got %v requests counted, want %v", got, want)
	}
}

// TestMetrics_resolution: a check takes from some hundred nanoseconds to
// seconds, and the buckets distinguish such times.
func TestMetrics_resolution(t *testing.T) {
	s := serve(t, proxied)
	s.send("GET /", "").mustBe(t, 401, bodies[401])
	text := s.call("GET", "/metrics", "").Body
	for _, bound := range []string{"1e-07", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "+Inf"} {
		if want := `caddy_api_keys_check_duration_seconds_bucket{le="` + bound + `"}`; !strings.Contains(text, want) {
			t.Errorf("got no %s", want)
		}
	}
}

// TestMetrics_storeErrors: every failure of the store is counted once, by its
// operation. Refusals are not counted.
func TestMetrics_storeErrors(t *testing.T) {
	s := serve(t, proxied)
	k := s.create(apikey.FullAccess)
	i := s.instance()
	key := "/api-keys/workspaces/" + k.WorkspaceID + "/keys/" + k.ID
	before := sumOf(t, errorsMetric)
	s.call("GET", "/api-keys/workspaces/other/keys/"+k.ID, "").mustBeRefused(t, 404, "not_found")
	s.call("PATCH", key, `{"name":"test"}`).mustBeRefused(t, 422, "vague_name")
	s.send("GET /", "Authorization: Bearer "+apikey.NewToken("agk").Reveal()+"\r\n").mustBe(t, 401, bodies[401])
	if got := sumOf(t, errorsMetric); got != before {
		t.Errorf("got %v errors of the store after refusals, want %v as before", got, before)
	}

	if err := i.store.Close(); err != nil {
		t.Fatal(err)
	}
	uses := map[string]func(){
		"lookup":    func() { s.send("GET /", k.bearer()).mustBe(t, 503, bodies[503]) },
		"change":    func() { s.call("POST", key+"/revoke", "").mustBeRefused(t, 503, "store_unavailable") },
		"read":      func() { s.call("GET", key, "").mustBeRefused(t, 503, "store_unavailable") },
		"last_used": func() { _ = i.store.NoteUses(map[string]apikey.Use{k.ID: {At: time.Now()}}) },
		"usage":     func() { _ = i.store.NoteUsage(map[apikey.KeyDay]apikey.Usage{{KeyID: k.ID}: {Reads: 1}}) },
		"clock":     func() { i.recordClock() },
		"forget":    func() { i.deleteOld(t.Context()) },
	}
	all := func() (total float64) { // without the census, which every scrape takes
		for operation := range uses {
			total += sumOf(t, errorsMetric, operation)
		}
		return total
	}
	for operation, use := range uses {
		one, before := sumOf(t, errorsMetric, operation), all()
		use()
		if got := sumOf(t, errorsMetric, operation); got != one+1 {
			t.Errorf("%s: got %v errors, want %v", operation, got, one+1)
		}
		if got, want := all(), before+1; got != want {
			t.Errorf("%s: got %v errors in all, want %v", operation, got, want)
		}
	}
}

// TestMetrics_fromTheBeginning: series that alerts watch exist before the first
// event; otherwise rate() would miss it.
func TestMetrics_fromTheBeginning(t *testing.T) {
	for _, test := range []struct {
		metric string
		labels []string
		want   int
	}{
		{requestsMetric, []string{"unavailable"}, 2}, // reads and writes
		{requestsMetric, []string{"rate_limited"}, 4},
		{requestsMetric, []string{"browser"}, 4},
		{errorsMetric, nil, 8},
		{"caddy_api_keys_admin_operations_total", []string{"ok"}, len(admin.Operations())},
		{"caddy_api_keys_admin_operations_total", []string{"no_space"}, len(admin.Operations())},
		{"caddy_api_keys_admin_operations_total", []string{"store_unavailable"}, len(admin.Operations())},
	} {
		if _, got := gather(t, test.metric, test.labels...); got != test.want {
			t.Errorf("%s %q: got %d series, want %d", test.metric, test.labels, got, test.want)
		}
	}
}
