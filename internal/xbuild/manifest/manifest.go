// Package manifest reads xcaddy.json, which describes the custom Caddy build: the
// versions of Caddy and its plugins, the build environment, and the output path.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Manifest is the content of xcaddy.json.
type Manifest struct {
	// CaddyVersion is the version of Caddy to build. Required.
	CaddyVersion string `json:"caddy_version"`

	// XcaddyVersion is the version of xcaddy that this manifest was written
	// for. The tool itself is pinned in tools/go.mod; a test keeps the two
	// equal. Required.
	XcaddyVersion string `json:"xcaddy_version"`

	// Dependencies are the plugins to include. At least one is required.
	Dependencies []Dependency `json:"dependencies"`

	// Env is set for the build, on top of the caller's environment.
	Env map[string]string `json:"env,omitempty"`

	// Output is the path of the binary, relative to the manifest. Required.
	Output string `json:"output"`

	dir string // absolute; the base of relative paths
}

// Dependency is a Go module that is built into the binary.
type Dependency struct {
	// Module is the path of the module. Required.
	Module string `json:"module"`

	// Version is the version of the module. Required; v0.0.0 if Replace is
	// set.
	Version string `json:"version"`

	// Replace is a directory, relative to the manifest, to use instead of the
	// module's published source.
	Replace string `json:"replace,omitempty"`
}

// Load reads the manifest at path. Unknown or missing fields are errors, as is anything
// after the manifest.
func Load(path string) (*Manifest, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the build manifest: %w", err)
	}
	m := &Manifest{dir: filepath.Dir(abs)}
	if err := m.decode(text); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

func (m *Manifest) decode(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("there is text after the manifest")
	}
	return m.check()
}

func (m *Manifest) check() error {
	switch {
	case m.CaddyVersion == "":
		return errors.New("caddy_version is missing")
	case m.XcaddyVersion == "":
		return errors.New("xcaddy_version is missing")
	case len(m.Dependencies) == 0:
		return errors.New("dependencies is empty: the build would be a stock Caddy")
	case m.Output == "":
		return errors.New("output is missing")
	}
	for i, d := range m.Dependencies {
		if d.Module == "" {
			return fmt.Errorf("dependencies[%d]: module is missing", i)
		}
		if d.Version == "" {
			return fmt.Errorf("dependencies[%d]: version of %s is missing", i, d.Module)
		}
		if slices.ContainsFunc(m.Dependencies[:i], func(e Dependency) bool { return e.Module == d.Module }) {
			return fmt.Errorf("dependencies[%d]: %s is listed twice", i, d.Module)
		}
	}
	return nil
}

// OutputPath returns the absolute path of the binary.
func (m *Manifest) OutputPath() string { return m.resolve(m.Output) }

// Args returns the arguments for xcaddy. Its working module is in a temporary
// directory, so every path is absolute.
func (m *Manifest) Args() []string {
	args := []string{"build", m.CaddyVersion, "--output", m.OutputPath()}
	for _, d := range m.Dependencies {
		with := d.Module + "@" + d.Version
		if d.Replace != "" {
			with += "=" + m.resolve(d.Replace)
		}
		args = append(args, "--with", with)
	}
	return args
}

// Environ returns the build environment: base without the variables that could make
// xcaddy build something else, and with Env.
func (m *Manifest) Environ(base []string) []string {
	env := slices.DeleteFunc(slices.Clone(base), func(kv string) bool {
		return strings.HasPrefix(kv, "XCADDY_") || strings.HasPrefix(kv, "CADDY_VERSION=")
	})
	for name, value := range m.Env {
		env = append(env, name+"="+value)
	}
	slices.Sort(env[len(env)-len(m.Env):])
	return env
}

func (m *Manifest) resolve(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(m.dir, path)
}
