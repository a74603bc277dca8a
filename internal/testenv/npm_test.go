package testenv

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestNPM_found(t *testing.T) {
	root := t.TempDir()
	want := filepath.Join(root, "test/npm/node_modules/axe-core")
	if err := os.MkdirAll(want, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(want, "package.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var got string
	r := record(t, func(r *recorder) { got = npmBelow(r, root, "axe-core") })
	if got != want {
		t.Errorf("got %q, want %q (skipped: %q, failed: %q)", got, want, r.skipped, r.failed)
	}
}

func TestNPM_absent(t *testing.T) {
	tests := []struct{ env, skipped, failed string }{
		{"", "needs axe-core: test/npm/install", ""},
		{"all", "", "needs axe-core: test/npm/install (API_KEYS_TESTS=all lets nothing be skipped)"},
	}
	for _, tt := range tests {
		t.Run(tt.env, func(t *testing.T) {
			t.Setenv(Variable, tt.env)
			r := record(t, func(r *recorder) { npmBelow(r, t.TempDir(), "axe-core") })
			if r.skipped != tt.skipped || r.failed != tt.failed {
				t.Errorf("got skipped %q and failed %q, want %q and %q", r.skipped, r.failed, tt.skipped, tt.failed)
			}
		})
	}
}

// The command that a skipped test names exists, and continuous integration runs it.
func TestNPM_installedByCI(t *testing.T) {
	root := Root(t)
	info, err := os.Stat(filepath.Join(root, "test/npm/install"))
	if err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("test/npm/install: got %v (%v), want a program", info, err)
	}
	script, err := os.ReadFile(filepath.Join(root, ".ci/run"))
	if err != nil || !strings.Contains(string(script), "\nstage \"install npm packages\" test/npm/install\n") {
		t.Errorf(".ci/run does not run test/npm/install (%v)", err)
	}
}
