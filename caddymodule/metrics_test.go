package caddymodule

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// gather returns the values of a metric, added up over its labels: of a
// histogram, how many observations it has.
func gather(t *testing.T, name string) (total float64) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registerMetrics(registry); err != nil {
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
			total += metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
		}
	}
	return total
}

// TestMetrics_checkDuration: every request that is judged is timed, whatever
// becomes of it, and no other one.
func TestMetrics_checkDuration(t *testing.T) {
	s := serve(t, "\troute /public/* {\n\t\tapi_key_auth\n\t\treverse_proxy $UPSTREAM\n\t}\n\trespond elsewhere\n")
	k := s.create(apikey.ReadOnly)
	timed, counted := gather(t, "caddy_api_keys_check_duration_seconds"), gather(t, "caddy_api_keys_requests_total")
	if timed != counted {
		t.Errorf("got %v checks timed and %v requests counted before, want as many", timed, counted)
	}
	s.send("GET /public/v1/me", k.bearer()).mustBe(t, 200, "from upstream")
	s.send("POST /public/v1/me", k.bearer()).mustBe(t, 403, bodies[403])
	s.send("GET /public/v1/me", "").mustBe(t, 401, bodies[401])
	s.send("TRACE /public/v1/me", "").mustBe(t, 405, bodies[405])
	s.send("GET /", "").mustBe(t, 200, "elsewhere")
	if got, want := gather(t, "caddy_api_keys_check_duration_seconds"), timed+4; got != want {
		t.Errorf("got %v checks timed, want %v", got, want)
	}
	if got, want := gather(t, "caddy_api_keys_requests_total"), counted+4; got != want {
		t.Errorf("got %v requests counted, want %v", got, want)
	}
}

// TestMetrics_resolution: a check takes from some hundred nanoseconds to
// seconds, and the histogram tells such times apart, for a Prometheus that
// takes native histograms and for one that does not.
func TestMetrics_resolution(t *testing.T) {
	s := serve(t, proxied)
	s.send("GET /", "").mustBe(t, 401, bodies[401])
	text := s.call("GET", "/metrics", "").body
	for _, bound := range []string{"1e-07", "1e-06", "1e-05", "0.0001", "0.001", "0.01", "+Inf"} {
		if want := `caddy_api_keys_check_duration_seconds_bucket{le="` + bound + `"}`; !strings.Contains(text, want) {
			t.Errorf("got no %s", want)
		}
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(checkDuration)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	histogram := families[0].GetMetric()[0].GetHistogram()
	if got := histogram.GetSchema(); got != 3 || len(histogram.GetPositiveSpan()) == 0 {
		t.Errorf("got a native histogram of schema %d with %d spans, want schema 3, in steps of a tenth", got, len(histogram.GetPositiveSpan()))
	}
}
