package test

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/xbuild/manifest"
)

// TestModules verifies what the binary registers beyond a plain Caddy.
func TestModules(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "list-modules", "--skip-standard").Output()
	must(t, err)
	got := regexp.MustCompile(`(?m)^[a-z_.]+$`).FindAllString(string(out), -1)
	slices.Sort(got)
	want := []string{"admin.api.api_keys", "api_keys", "caddy.logging.encoders.lazy",
		"http.handlers.api_key_admin", "http.handlers.api_key_auth", "http.handlers.api_key_leaks"}
	if !slices.Equal(got, want) {
		t.Errorf("got the modules %q, want %q", got, want)
	}
}

// TestModules_manifest verifies that the custom build of xcaddy.json is made of what this
// binary is made of.
func TestModules_manifest(t *testing.T) {
	t.Parallel()
	out, err := exec.Command(binary, "build-info").Output()
	must(t, err)
	m, err := manifest.Load("../xcaddy.json")
	must(t, err)
	want := []string{`dep\s+github\.com/caddyserver/caddy/v2\s+` + regexp.QuoteMeta(m.CaddyVersion)}
	for _, d := range m.Dependencies {
		version := regexp.QuoteMeta(d.Version)
		if d.Replace != "" {
			version = `\(devel\)`
		}
		want = append(want, `(mod|dep)\s+`+regexp.QuoteMeta(d.Module)+`\s+`+version)
	}
	for _, line := range want {
		if !regexp.MustCompile(`(?m)^` + line).Match(out) {
			t.Errorf("got a binary without %s:\n%s", line, strings.Split(string(out), "build")[0])
		}
	}
}
