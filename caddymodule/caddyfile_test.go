package caddymodule

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const ruler = "----------\n"

// TestAdapt compares the JSON of each Caddyfile with the JSON at its end, and
// checks that Caddy accepts it.
func TestAdapt(t *testing.T) {
	t.Setenv("ADMIN_TOKEN", "admin-token-for-tests")
	t.Setenv("TOKEN_DIRECTORY", "testdata")
	t.Setenv("API_KEYS_BACKUP_KEY", strings.Repeat("a1", 32))
	t.Setenv("ETCD_PASSWORD", "password-for-tests")
	t.Setenv("ETCD_TLS", certificate(t))
	t.Setenv("API_KEYS_FLEET_KEY", strings.Repeat("b2", 32))
	t.Setenv("API_KEYS_FLEET_KEY_OLD", strings.Repeat("c3", 32))
	t.Setenv("API_KEYS_ENCRYPTION_KEY", strings.Repeat("d4", 32))
	t.Setenv("API_KEYS_FORMER_ENCRYPTION_KEY", strings.Repeat("e5", 32))
	t.Setenv("API_KEYS_WEBHOOK_URL", "https://other.example.com/")
	t.Setenv("API_KEYS_WEBHOOK_SECRET", "whsec_"+strings.Repeat("f6", 16))
	t.Setenv("API_KEYS_FORMER_WEBHOOK_SECRET", "whsec_"+strings.Repeat("g7", 16))
	for _, path := range files(t, "adapt", ".caddyfiletest") {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".caddyfiletest"), func(t *testing.T) {
			source, want, _ := strings.Cut(string(read(t, path)), ruler)
			config, warnings, err := adapt([]byte(source))
			if err != nil {
				t.Fatal(err)
			}
			for _, warning := range warnings {
				t.Errorf("got warning %q, want none", warning.String())
			}
			got := indented(t, config)
			if *update {
				write(t, path, []byte(source+ruler+got))
			} else if got != want {
				t.Errorf("got %s\nwant %s", got, want)
			}
			if err := validate(config); err != nil {
				t.Errorf("validating: got %v, want no error", err)
			}
		})
	}
}

// TestAdapt_example checks that the example runs as it is, as its first lines say.
func TestAdapt_example(t *testing.T) {
	config, warnings, err := adapt(read(t, filepath.Join("..", "Caddyfile.example")))
	if err != nil {
		t.Fatal(err)
	}
	for _, warning := range warnings {
		t.Errorf("got warning %q, want none", warning.String())
	}
	if err := validate(config); err != nil {
		t.Errorf("validating: got %v, want no error", err)
	}
	for _, module := range []string{`"handler":"api_key_auth"`, `"api_keys":{`} {
		if !bytes.Contains(config, []byte(module)) {
			t.Errorf("got %s, want it to contain %s", config, module)
		}
	}
}

// wantedLine begins the last lines of a wrong Caddyfile, which have the expected
// error.
const wantedLine = "# want: "

// TestRefusedConfigs loads every wrong configuration and compares the error. A
// Caddyfile has the expected one in its last lines, JSON in a file of the same
// name.
func TestRefusedConfigs(t *testing.T) {
	t.Setenv("ADMIN_TOKEN", "admin-token-for-tests")
	t.Setenv("EMPTY_TOKEN", "")
	t.Setenv("SPACED_TOKEN", "two words")
	t.Setenv("SHORT_WEBHOOK_SECRET", "whsec_c2hvcnQ=")
	t.Setenv("WEBHOOK_URL_CREDENTIALS", "https://user:hunter2@hooks.example.com/")
	t.Setenv("ETCD_TLS", certificate(t))
	for _, path := range files(t, "errors", ".caddyfile", ".json") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			source := read(t, path)
			config, want := source, ""
			var err error
			if filepath.Ext(path) == ".json" {
				want = expectedFor(t, path)
			} else {
				source, want = splitExpected(source)
				config, _, err = adapt(source)
			}
			if err == nil {
				err = validate(config)
			}
			if err == nil {
				t.Fatalf("got no error, want %q", want)
			}
			if got := err.Error(); *update {
				expect(t, path, source, got)
			} else if got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// splitExpected splits a wrong Caddyfile into its source and the expected error.
func splitExpected(file []byte) (source []byte, want string) {
	var lines []string
	for line := range strings.Lines(string(file)) {
		if expected, ok := strings.CutPrefix(line, wantedLine); ok {
			lines = append(lines, strings.TrimSuffix(expected, "\n"))
			continue
		}
		source = append(source, line...)
	}
	return source, strings.Join(lines, "\n")
}

func wantFile(path string) string { return strings.TrimSuffix(path, ".json") + ".want" }

func expectedFor(t *testing.T, path string) string {
	t.Helper()
	want, err := os.ReadFile(wantFile(path))
	if err != nil && !*update {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(want), "\n")
}

func expect(t *testing.T, path string, source []byte, message string) {
	t.Helper()
	if filepath.Ext(path) == ".json" {
		write(t, wantFile(path), []byte(message+"\n"))
		return
	}
	for line := range strings.SplitSeq(message, "\n") {
		source = append(source, wantedLine+line+"\n"...)
	}
	write(t, path, source)
}
