package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

const (
	rulesFile  = "../deploy/prometheus/rules.yml"
	scrapeFile = "../deploy/prometheus/scrape.yml"
	runbook    = "https://github.com/agiled/caddy-api-keys/blob/main/docs/runbook.md"
)

// rule is one of Prometheus' rules: it records a series, or it alerts.
type rule struct {
	Record, Alert, Expr string
	Labels, Annotations map[string]string
}

// rules returns the rules that are shipped, in their order.
func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	readYAML(t, rulesFile, &file)
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// alerts returns those of the rules that alert.
func alerts(t *testing.T) []rule {
	t.Helper()
	alerts := slices.DeleteFunc(rules(t), func(r rule) bool { return r.Alert == "" })
	if len(alerts) == 0 {
		t.Fatal("there are no alerts")
	}
	return alerts
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	must(t, yaml.Unmarshal(text, into))
}

// TestAlerts_promtool has Prometheus' own tool read what is shipped for it, and
// run the cases of rules_test.yml.
func TestAlerts_promtool(t *testing.T) {
	t.Parallel()
	promtool := testenv.Tool(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "--lint-fatal", "rules.yml"},
		{"check", "config", "--lint-fatal", "scrape.yml"},
		{"test", "rules", "rules_test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = filepath.Dir(rulesFile)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// TestAlerts_bothSides verifies that rules_test.yml has, for each alert, something that
// makes it fire, and something that comes near and does not.
func TestAlerts_bothSides(t *testing.T) {
	t.Parallel()
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert string `yaml:"alertname"`
				Fires []any  `yaml:"exp_alerts"`
			} `yaml:"alert_rule_test"`
		}
	}
	readYAML(t, "../deploy/prometheus/rules_test.yml", &file)
	fires, silent := make(map[string]bool), make(map[string]bool)
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			if len(c.Fires) > 0 {
				fires[c.Alert] = true
			} else {
				silent[c.Alert] = true
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("%s: no case makes it fire", a.Alert)
		}
		if !silent[a.Alert] {
			t.Errorf("%s: no case shows what does not make it fire", a.Alert)
		}
	}
}

// TestAlerts_say verifies what anyone called by an alert can rely on: how urgent it is,
// what is wrong, what it means, and where to read what to do.
func TestAlerts_say(t *testing.T) {
	t.Parallel()
	for _, a := range alerts(t) {
		if severity := a.Labels["severity"]; !slices.Contains([]string{"critical", "warning", "info"}, severity) {
			t.Errorf("%s: got severity %q, want critical, warning or info", a.Alert, severity)
		}
		for _, name := range []string{"summary", "description"} {
			if text := a.Annotations[name]; !strings.HasSuffix(text, ".") {
				t.Errorf("%s: got %s %q, want a sentence", a.Alert, name, text)
			}
		}
		if got, want := a.Annotations["runbook_url"], runbook+"#"+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s: got runbook_url %q, want %q", a.Alert, got, want)
		}
	}
}

// TestAlerts_job verifies that the rules know the gateway by the name that scrape.yml gives
// it.
func TestAlerts_job(t *testing.T) {
	t.Parallel()
	var config struct {
		Jobs []struct {
			Name string `yaml:"job_name"`
		} `yaml:"scrape_configs"`
	}
	readYAML(t, scrapeFile, &config)
	if len(config.Jobs) != 1 {
		t.Fatalf("got %d jobs, want 1", len(config.Jobs))
	}
	job, named := regexp.MustCompile(`job="([^"]*)"`), 0
	for _, a := range alerts(t) {
		for _, match := range job.FindAllStringSubmatch(a.Expr, -1) {
			named++
			if match[1] != config.Jobs[0].Name {
				t.Errorf("%s is about the job %q, want %q", a.Alert, match[1], config.Jobs[0].Name)
			}
		}
	}
	if named == 0 {
		t.Error("no rule names the job")
	}
}
