// Package model explores the fleet's protocol in all of its interleavings: see its
// README.md.
package model

import (
	"os/exec"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// The promise holds in the smallest configuration, and breaks without any one rule.
func TestModel(t *testing.T) {
	testenv.Tool(t, "spin")
	testenv.Tool(t, "gcc")
	out, err := exec.CommandContext(t.Context(), "./check", "small").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("\n%s", out)
}
