package test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestWorkflows_pinned checks that what runs in the workflows cannot be changed from
// outside this repository: actions and images are named by their digest.
func TestWorkflows_pinned(t *testing.T) {
	t.Parallel()
	pinned := map[string]*regexp.Regexp{
		"uses":  regexp.MustCompile(`^(\./\S+|[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$`),
		"image": regexp.MustCompile(`^[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}$`),
	}
	for path, text := range workflows(t) {
		for _, found := range regexp.MustCompile(`(?m)^[\s-]*(uses|image): *(.*)$`).FindAllStringSubmatch(text, -1) {
			if what, value := found[1], found[2]; !pinned[what].MatchString(value) {
				t.Errorf("%s: got %s: %s, want it pinned by its digest", path, what, value)
			}
		}
	}
}

// TestWorkflows_go checks that what is tested, released and built into an image by others
// is compiled by the same Go.
func TestWorkflows_go(t *testing.T) {
	t.Parallel()
	texts := workflows(t)
	dockerfile, err := os.ReadFile("../deploy/docker/Dockerfile")
	must(t, err)
	texts["deploy/docker/Dockerfile"] = string(dockerfile)
	var first string
	for path, text := range texts {
		got := regexp.MustCompile(`golang:\S+`).FindString(text)
		if first == "" {
			first = got
		}
		if got == "" || got != first {
			t.Errorf("%s: got the image %q, want it as elsewhere, %q", path, got, first)
		}
	}
}

// TestWorkflows_pullRequests checks that the code of a pull request runs without secrets
// and cannot write to the repository.
func TestWorkflows_pullRequests(t *testing.T) {
	t.Parallel()
	seen := false
	for path, text := range workflows(t) {
		if strings.Contains(text, "pull_request_target") || strings.Contains(text, "workflow_run") {
			t.Errorf("%s runs with the privileges of the repository on what others wrote", path)
		}
		if !strings.Contains(text, "\npermissions:\n  contents: read\n") {
			t.Errorf("%s does not restrict its token to reading", path)
		}
		if !strings.Contains(text, "\n  pull_request:\n") {
			continue
		}
		seen = true
		for _, privilege := range []string{"secrets.", "github.token", ": write"} {
			if strings.Contains(text, privilege) {
				t.Errorf("%s runs on pull requests, and has %q", path, privilege)
			}
		}
	}
	if !seen {
		t.Error("no workflow runs on pull requests")
	}
}

// workflows returns the texts of the workflows, by their paths.
func workflows(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob("../.github/workflows/*.yml")
	must(t, err)
	texts := make(map[string]string)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		must(t, err)
		texts[path] = string(text)
	}
	return texts
}
