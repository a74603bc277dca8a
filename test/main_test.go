package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// binary is the Caddy under test, built once for all tests. Tests in which requests, changes or
// reloads come at once use [racedBinary], which takes four times as long to start, and whose own
// memory and CPU time would hide what a gateway needs.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "caddy-api-keys-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "caddy")
	// A program with the race detector waits a second at its end for goroutines that are
	// still running. Every command of a script would.
	if err := os.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := buildCaddy(binary, false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stopSharedChromium()
	return m.Run()
}

// racedBinary returns the same Caddy with the race detector, if the tests have it.
func racedBinary(t *testing.T) string {
	t.Helper()
	path, err := buildRaced()
	must(t, err)
	return path
}

var buildRaced = sync.OnceValues(func() (string, error) {
	if !raceEnabled {
		return binary, nil
	}
	path := filepath.Join(filepath.Dir(binary), "raced", "caddy")
	return path, buildCaddy(path, true)
})

// buildCaddy builds Caddy without its profile, which would have all of Caddy compiled once
// more, and without what debuggers need.
func buildCaddy(path string, race bool) error {
	build := exec.Command("go", "build", "-pgo=off", "-ldflags=-w", fmt.Sprintf("-race=%t", race), "-o", path, "../cmd/caddy")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", build, err, out)
	}
	return nil
}
