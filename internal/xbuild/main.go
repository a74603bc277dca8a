// Command xbuild builds the custom Caddy that xcaddy.json describes, with the
// xcaddy that tools/go.mod pins. It runs from the root of the repository:
//
//	go run ./internal/xbuild
//
// If VERSION and COMMIT are set, caddy api-keys version prints them.
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
	"time"

	"github.com/agiled/caddy-api-keys/internal/xbuild/gobuild"
	"github.com/agiled/caddy-api-keys/internal/xbuild/manifest"
)

const (
	manifestFile = "xcaddy.json"
	toolsModule  = "tools/go.mod"
	profileFile  = "cmd/caddy/default.pgo"

	// mainPackage is the package that xcaddy makes.
	mainPackage = "caddy"
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
	fmt.Fprintf(os.Stderr, "building %s with Caddy %s\n", m.Output, m.CaddyVersion)
	begun := time.Now()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(m.Environ(os.Environ()), optimize(os.Getenv("GOFLAGS")), flags(os.Getenv("VERSION"), os.Getenv("COMMIT")))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	if err := gobuild.Run(cmd, mainPackage, gobuild.NewProgress(os.Stderr)); err != nil {
		return fmt.Errorf("building %s: %w", m.Output, err)
	}
	fmt.Fprintf(os.Stderr, "built %s in %s\n", m.Output, time.Since(begun).Round(time.Second))
	return nil
}

// flags returns the variable with the flags of go build: -v is how it says what it compiles.
func flags(version, commit string) string {
	return "XCADDY_GO_BUILD_FLAGS=-v -trimpath -ldflags '" + gobuild.LinkerFlags(version, commit) + "'"
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
