package test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/etcdtest"
)

// query is an expression that is shipped, and where it stands.
type query struct{ at, expr string }

// queries returns the expressions of the rules, of the dashboard and of the
// documents. What one chooses in the dashboard is chosen: everything.
func queries(t *testing.T) (all []query) {
	t.Helper()
	for _, r := range rules(t) {
		all = append(all, query{"rules.yml: " + r.Record + r.Alert, r.Expr})
	}
	chosen := strings.NewReplacer("$job", ".+", "$instance", ".+", "$__rate_interval", "5m", "$__range", "6h")
	for _, p := range readDashboard(t).Panels {
		for _, target := range p.Targets {
			all = append(all, query{"dashboard.json: " + p.Title, chosen.Replace(target.Expr)})
		}
	}
	shown := regexp.MustCompile("(?ms)^ *```promql\n(.*?)^ *```$")
	for path, text := range documents(t) {
		for _, block := range shown.FindAllStringSubmatch(text, -1) {
			for expr := range strings.SplitSeq(strings.TrimSpace(block[1]), "\n\n") {
				all = append(all, query{path, expr})
			}
		}
	}
	return all
}

// labelValues are the labels of a metric with the values that they have.
type labelValues map[string]map[string]bool

// exported returns the metrics of keys that the server has, by their name.
func (s *server) exported() map[string]labelValues {
	s.T.Helper()
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	all := make(map[string]labelValues)
	for series := range s.metrics() {
		name, pairs, _ := strings.Cut(series, "{")
		if !strings.HasPrefix(name, "caddy_api_keys_") {
			continue
		}
		// As a native histogram, it has one series of its own name.
		if histogram, ok := strings.CutSuffix(name, "_count"); ok {
			all[histogram] = make(labelValues)
		}
		if all[name] == nil {
			all[name] = make(labelValues)
		}
		for _, pair := range label.FindAllStringSubmatch(pairs, -1) {
			if all[name][pair[1]] == nil {
				all[name][pair[1]] = make(map[string]bool)
			}
			all[name][pair[1]][pair[2]] = true
		}
	}
	return all
}

// allExported returns the metrics of a gateway with a store of its own, and of one of a
// fleet.
func allExported(t *testing.T) map[string]labelValues {
	t.Helper()
	all := start(t, gatewayConfig).exported()
	maps.Copy(all, startFleet(t, 1, etcdtest.Start(t, 1))[0].exported())
	return all
}

var (
	selector = regexp.MustCompile(`([a-z_:]*caddy_api_keys_[a-z0-9_:]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|on)\s*\(([^)]*)\)`)

	prometheusOwn = regexp.MustCompile(`\b(?:up|ALERTS)\{`)
)

// TestPromQL_names verifies that every expression is about metrics, labels and values that
// the server has: a misspelled one is no error to Prometheus, and an alert with one never
// fires.
func TestPromQL_names(t *testing.T) {
	t.Parallel()
	exported := allExported(t)
	recorded := make(map[string]bool)
	for _, r := range rules(t) {
		recorded[r.Record] = true
	}
	for _, q := range queries(t) {
		labels := map[string]bool{"job": true, "instance": true, "alertname": true, "severity": true}
		selectors := selector.FindAllStringSubmatch(q.expr, -1)
		if len(selectors) == 0 && !prometheusOwn.MatchString(q.expr) {
			t.Errorf("%s names no metric:\n%s", q.at, q.expr)
		}
		for _, found := range selectors {
			name, matchers := found[1], found[2]
			if strings.Contains(name, ":") {
				if !recorded[name] {
					t.Errorf("%s: no rule records %s", q.at, name)
				}
				labels["result"] = true
				continue
			}
			metric, ok := exported[name]
			if !ok {
				t.Errorf("%s: there is no metric %s", q.at, name)
				continue
			}
			for label := range metric {
				labels[label] = true
			}
			for _, m := range matcher.FindAllStringSubmatch(matchers, -1) {
				checkMatcher(t, q.at, name, metric, m[1], m[3])
			}
		}
		for _, group := range grouping.FindAllStringSubmatch(q.expr, -1) {
			for label := range strings.SplitSeq(group[1], ",") {
				if label = strings.TrimSpace(label); !labels[label] {
					t.Errorf("%s: no metric in it has the label %q", q.at, label)
				}
			}
		}
	}
}

// checkMatcher checks what a selector says of one label. The targets' own
// labels are Prometheus'.
func checkMatcher(t *testing.T, at, name string, metric labelValues, label, value string) {
	t.Helper()
	if label == "job" || label == "instance" {
		return
	}
	if metric[label] == nil {
		t.Errorf("%s: %s has no label %s", at, name, label)
		return
	}
	for alternative := range strings.SplitSeq(value, "|") {
		if !metric[label][alternative] {
			t.Errorf("%s: %s{%s} is never %q, but one of %q", at, name, label, alternative,
				slices.Sorted(maps.Keys(metric[label])))
		}
	}
}

// TestPromQL_documented verifies that docs/observability.md has every metric with its
// labels, and every value that a label has from the beginning.
func TestPromQL_documented(t *testing.T) {
	t.Parallel()
	texts := documents(t)
	text := texts["docs/observability.md"]
	want := make(map[string]string)
	for name, metric := range allExported(t) {
		if strings.HasSuffix(name, "_bucket") || strings.HasSuffix(name, "_sum") {
			continue
		}
		want[strings.TrimSuffix(name, "_count")] = strings.Join(slices.Sorted(maps.Keys(metric)), " ")
		for label, values := range metric {
			for value := range values {
				if value != "" && !strings.Contains(text+texts["docs/operate.md"], "`"+value+"`") {
					t.Errorf("%s: %s=%q is in no document", name, label, value)
				}
			}
		}
	}
	got := make(map[string]string)
	row := regexp.MustCompile("(?m)^\\| `(caddy_api_keys_[a-z_]+)` \\| \\w+ \\| ([^|]*)\\|")
	for _, found := range row.FindAllStringSubmatch(text, -1) {
		labels := strings.Fields(strings.NewReplacer("`", "", ",", "").Replace(found[2]))
		slices.Sort(labels)
		got[found[1]] = strings.Join(labels, " ")
	}
	if !maps.Equal(got, want) {
		t.Errorf("got in the table:\n%v\nwant:\n%v", got, want)
	}
}
