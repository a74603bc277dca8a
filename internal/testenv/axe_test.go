package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAxe_found(t *testing.T) {
	root := t.TempDir()
	want := filepath.Join(root, "test/axe/node_modules/axe-core/axe.min.js")
	if err := os.MkdirAll(filepath.Dir(want), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(want, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var got string
	r := record(t, func(r *recorder) { got = axeBelow(r, root) })
	if got != want {
		t.Errorf("got %q, want %q (skipped: %q, failed: %q)", got, want, r.skipped, r.failed)
	}
}

func TestAxe_absent(t *testing.T) {
	tests := []struct{ env, skipped, failed string }{
		{"", "needs axe-core: test/axe/install", ""},
		{"all", "", "needs axe-core: test/axe/install (API_KEYS_TESTS=all lets nothing be skipped)"},
	}
	for _, tt := range tests {
		t.Run(tt.env, func(t *testing.T) {
			t.Setenv(Variable, tt.env)
			r := record(t, func(r *recorder) { axeBelow(r, t.TempDir()) })
			if r.skipped != tt.skipped || r.failed != tt.failed {
				t.Errorf("got skipped %q and failed %q, want %q and %q", r.skipped, r.failed, tt.skipped, tt.failed)
			}
		})
	}
}

// The command that a skipped test names is there, and continuous integration
// runs it.
func TestAxe_installedByCI(t *testing.T) {
	root := moduleRoot(t)
	info, err := os.Stat(filepath.Join(root, "test/axe/install"))
	if err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("test/axe/install: got %v (%v), want a program", info, err)
	}
	script, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	if err != nil || !strings.Contains(string(script), "\nstage \"install axe-core\" test/axe/install\n") {
		t.Errorf(".ci/run does not run test/axe/install (%v)", err)
	}
}
