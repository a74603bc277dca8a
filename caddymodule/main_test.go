package caddymodule

import (
	"bytes"
	"encoding/json"
	goflag "flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = goflag.Bool("update", false, "rewrite the expectations in testdata")

// TestMain gives Caddy its own directories for certificates, its last configuration
// and, by default, the key store.
func TestMain(m *testing.M) {
	os.Exit(inOwnDirectories(m))
}

func inOwnDirectories(m *testing.M) int {
	dir, err := os.MkdirTemp("", "caddymodule")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := keepCachesOfGo(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for name, sub := range map[string]string{"XDG_DATA_HOME": "data", "XDG_CONFIG_HOME": "config", "HOME": "home"} {
		if err := os.Setenv(name, filepath.Join(dir, sub)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	caddy.DefaultStorage.Path = caddy.AppDataDir()
	return m.Run()
}

// keepCachesOfGo has Go, which builds etcd for tests, use its caches wherever HOME is.
func keepCachesOfGo() error {
	names := []string{"GOENV", "GOCACHE", "GOMODCACHE"}
	values, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	for i, value := range strings.Split(strings.TrimSpace(string(values)), "\n") {
		if err := os.Setenv(names[i], value); err != nil {
			return err
		}
	}
	return nil
}

// adapt converts a Caddyfile to JSON, as `caddy adapt` does.
func adapt(source []byte) ([]byte, []caddyconfig.Warning, error) {
	return caddyconfig.GetAdapter("caddyfile").Adapt(source, map[string]any{"filename": "Caddyfile"})
}

// validate does what `caddy validate` does with JSON.
func validate(config []byte) error {
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		return err
	}
	return caddy.Validate(&c)
}

// files returns the files in a directory of testdata with one of the endings, and
// fails if there are none.
func files(t *testing.T, dir string, endings ...string) []string {
	t.Helper()
	var found []string
	for _, ending := range endings {
		matches, err := filepath.Glob(filepath.Join("testdata", dir, "*"+ending))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, matches...)
	}
	if len(found) == 0 {
		t.Fatalf("testdata/%s holds no file that ends in %s", dir, strings.Join(endings, " or "))
	}
	return found
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func indented(t *testing.T, config []byte) string {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String() + "\n"
}
