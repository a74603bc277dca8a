package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/xbuild/gobuild"
	"github.com/agiled/caddy-api-keys/internal/xbuild/manifest"
)

const root = "../.."

// The versions in xcaddy.json are those in go.mod, so that operators run what was tested.
func TestManifest_agreesWithGoMod(t *testing.T) {
	m, err := manifest.Load(filepath.Join(root, manifestFile))
	if err != nil {
		t.Fatal(err)
	}
	module := readGoMod(t, filepath.Join(root, "go.mod"))
	tools := readGoMod(t, filepath.Join(root, toolsModule))

	const caddy = "github.com/caddyserver/caddy/v2"
	if got, want := m.CaddyVersion, module.required(caddy); got != want {
		t.Errorf("caddy_version: got %q, want %q as in go.mod", got, want)
	}
	const xcaddy = "github.com/caddyserver/xcaddy"
	if got, want := m.XcaddyVersion, tools.required(xcaddy); got != want {
		t.Errorf("xcaddy_version: got %q, want %q as in %s", got, want, toolsModule)
	}

	ours := false
	for _, d := range m.Dependencies {
		if d.Module == module.Module.Path {
			ours = true
			if d.Replace != "." {
				t.Errorf("%s: got replace %q, want %q: the build is of this checkout", d.Module, d.Replace, ".")
			}
			continue
		}
		if d.Replace != "" {
			t.Errorf("%s: got replace %q, want none: only this module is built from a directory", d.Module, d.Replace)
		}
		if want := module.required(d.Module); d.Version != want {
			t.Errorf("%s: got version %q, want %q as in go.mod", d.Module, d.Version, want)
		}
	}
	if !ours {
		t.Errorf("dependencies: %s is not among them", module.Module.Path)
	}
}

// goMod is the part of the output of go mod edit -json that this test needs.
type goMod struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
}

// required returns the version of path that the module requires, or a word that is not
// a version if it does not require path.
func (m goMod) required(path string) string {
	for _, r := range m.Require {
		if r.Path == path {
			return r.Version
		}
	}
	return "none"
}

func readGoMod(t *testing.T, path string) goMod {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", path).Output()
	if err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
	var m goMod
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
	return m
}

// The linker ignores a variable that does not exist, and with -trimpath the binary does
// not contain the linker's flags.
func TestVersionVariables(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "main.test")
	build := exec.Command("go", "test", "-c", "-trimpath", "-o", binary, "-ldflags="+gobuild.LinkerFlags("4.5.6-linked", "c0ffee-linked"), "./internal/version")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4.5.6-linked", "c0ffee-linked"} {
		if !bytes.Contains(content, []byte(want)) {
			t.Errorf("the linker has not set a variable to %s", want)
		}
	}
}
