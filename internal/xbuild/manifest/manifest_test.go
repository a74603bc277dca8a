package manifest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const valid = `{
	"caddy_version": "v2.0.0",
	"xcaddy_version": "v0.1.0",
	"dependencies": [
		{"module": "example.com/here", "version": "v0.0.0", "replace": "."},
		{"module": "example.com/there", "version": "v1.2.3"}
	],
	"env": {"CGO_ENABLED": "0"},
	"output": "dist/caddy"
}`

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "xcaddy.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestArgs(t *testing.T) {
	path := write(t, valid)
	m, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	want := []string{
		"build", "v2.0.0",
		"--output", filepath.Join(dir, "dist", "caddy"),
		"--with", "example.com/here@v0.0.0=" + dir,
		"--with", "example.com/there@v1.2.3",
	}
	if got := m.Args(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEnviron_callerCannotRedirectTheBuild(t *testing.T) {
	m, err := Load(write(t, valid))
	if err != nil {
		t.Fatal(err)
	}
	base := []string{"HOME=/root", "XCADDY_SKIP_BUILD=1", "CADDY_VERSION=v1.0.0", "CGO_ENABLED=1"}
	got := m.Environ(base)
	// If a name has two values, a command sees the last one.
	want := []string{"HOME=/root", "CGO_ENABLED=1", "CGO_ENABLED=0"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestLoad_refused(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(valid, old) {
			t.Fatalf("%q is not in the valid manifest", old)
		}
		return strings.Replace(valid, old, new, 1)
	}
	tests := []struct{ name, text, want string }{
		{"unknown field", replace(`"output"`, `"outptu"`), `unknown field "outptu"`},
		{"unknown field of a dependency", replace(`"replace"`, `"path"`), `unknown field "path"`},
		{"no Caddy version", replace(`"v2.0.0"`, `""`), "caddy_version is missing"},
		{"no xcaddy version", replace(`"v0.1.0"`, `""`), "xcaddy_version is missing"},
		{"no output", replace(`"dist/caddy"`, `""`), "output is missing"},
		{"no module", replace(`"example.com/there"`, `""`), "dependencies[1]: module is missing"},
		{"no version", replace(`"v1.2.3"`, `""`), "dependencies[1]: version of example.com/there is missing"},
		{"module twice", replace("there", "here"), "dependencies[1]: example.com/here is listed twice"},
		{"no dependencies", `{"caddy_version":"v2.0.0","xcaddy_version":"v0.1.0","output":"o"}`, "dependencies is empty"},
		{"trailing text", valid + "{}", "text after the manifest"},
		{"not JSON", "caddy_version: v2", "invalid character"},
		{"empty", "", "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			_, err := Load(path)
			if err == nil {
				t.Fatalf("got no error, want %q", tt.want)
			}
			if got := err.Error(); !strings.HasPrefix(got, path+": ") || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want the path and %q", got, tt.want)
			}
		})
	}
}
