// Command xbuild builds the custom Caddy that xcaddy.json describes, with the
// xcaddy that tools/go.mod pins. It runs from the root of the repository:
//
//	go run ./internal/xbuild
//
// If VERSION is set, it becomes the version in the server's log.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/xbuild/manifest"
)

const (
	manifestFile = "xcaddy.json"
	toolsModule  = "tools/go.mod"
	profileFile  = "cmd/caddy/default.pgo"

	versionVariable = "github.com/agiled/caddy-api-keys/internal/version.built"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "xbuild:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	m, err := manifest.Load(manifestFile)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w (run it from the root of the repository)", err)
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.OutputPath()), 0o755); err != nil {
		return fmt.Errorf("making the output directory: %w", err)
	}

	args := append([]string{"tool", "-modfile=" + toolsModule, "xcaddy"}, m.Args()...)
	fmt.Println("go", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(m.Environ(os.Environ()), optimize(os.Getenv("GOFLAGS")), link(os.Getenv("VERSION")))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("building %s: %w", m.Output, err)
	}
	return nil
}

// link returns the variable that makes the linker strip debugging information, as xcaddy
// does by default, and set the version.
func link(version string) string {
	flags := "-w -s"
	if version != "" {
		flags += " -X " + versionVariable + "=" + version
	}
	return "XCADDY_GO_BUILD_FLAGS=-trimpath -ldflags '" + flags + "'"
}

// optimize returns the variable that makes the compiler use the profile of cmd/caddy. go
// build ./cmd/caddy finds it by itself, but xcaddy builds a program of its own.
func optimize(flags string) string {
	profile, err := filepath.Abs(profileFile)
	if err != nil {
		return "GOFLAGS=" + flags
	}
	return "GOFLAGS=" + strings.TrimSpace(flags+" '-pgo="+profile+"'")
}
