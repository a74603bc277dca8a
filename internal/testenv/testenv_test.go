package testenv

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
)

// recorder stands in for a test that asks for a program.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// record runs a function as a test, and returns that test's result.
func record(t *testing.T, ask func(r *recorder)) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask(r)
	}()
	<-done
	return r
}

// ask calls Tool.
func ask(t *testing.T, name string) (path string, r *recorder) {
	t.Helper()
	r = record(t, func(r *recorder) { path = Tool(r, name) })
	return path, r
}

// install sets PATH to a directory with only the named programs.
func install(t *testing.T, names ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

func TestTool_found(t *testing.T) {
	tests := []struct{ name, installed string }{
		{"promtool", "promtool"},
		{"node", "node"},
		{"node", "nodejs"},
	}
	for _, tt := range tests {
		t.Run(tt.name+" as "+tt.installed, func(t *testing.T) {
			dir := install(t, tt.installed)
			got, r := ask(t, tt.name)
			if want := filepath.Join(dir, tt.installed); got != want {
				t.Errorf("got %q, want %q (skipped: %q, failed: %q)", got, want, r.skipped, r.failed)
			}
		})
	}
}

func TestTool_absent(t *testing.T) {
	tests := []struct{ name, env, skipped, failed string }{
		{"promtool", "", "needs promtool: apt-get install prometheus", ""},
		{"promtool", "some", "needs promtool: apt-get install prometheus", ""},
		{"promtool", "all", "", "needs promtool: apt-get install prometheus (API_KEYS_TESTS=all lets nothing be skipped)"},
		{"emacs", "", "", `testenv: no program "emacs", only chromium, curl, etcd, firefox, gcc, hypercorn, icalendar, java, javac, jq, nginx, node, openssl, prometheus, promtool, python3, spin`},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.env, func(t *testing.T) {
			install(t)
			t.Setenv(Variable, tt.env)
			_, r := ask(t, tt.name)
			if r.skipped != tt.skipped {
				t.Errorf("skipped: got %q, want %q", r.skipped, tt.skipped)
			}
			if r.failed != tt.failed {
				t.Errorf("failed: got %q, want %q", r.failed, tt.failed)
			}
		})
	}
}

// Continuous integration installs every program that a test may ask for, and of its
// names the one that tests prefer.
func TestPrograms_installedByCI(t *testing.T) {
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range programs {
		want := regexp.MustCompile(`(?m)^\tneed ` + regexp.QuoteMeta(p.install+" "+p.names[0]) + `( |$)`)
		if !want.Match(script) {
			t.Errorf("%s: .ci/run has no line that matches %q", name, want)
		}
	}
}
