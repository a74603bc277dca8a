// Package version says which version of the gateway is in the running binary.
package version

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"slices"
)

const (
	modulePath = "github.com/agiled/caddy-api-keys"
	caddyPath  = "github.com/caddyserver/caddy/v2"
)

// The version and the commit of a release or of a build from a directory, set by the
// linker: Go records none where this module is not the main one, or is built without
// its repository.
var built, commit string

// devel is the version that Go gives to what was built from a directory.
const devel = "(devel)"

// Info is what the running binary was built from. What is unknown is "".
type Info struct {
	// Version is that of this module, as of [Get].
	Version string `json:"version"`

	// Commit is the revision of this module's repository.
	Commit string `json:"commit"`

	// Go is the version of Go that compiled the binary, such as go1.26.8.
	Go string `json:"go"`

	// Caddy is the version of Caddy, such as v2.11.9.
	Caddy string `json:"caddy"`
}

// Get returns the version of this module in the running binary, or the revision
// that it was built from if it has none.
func Get() string { return Read().Version }

// Read returns what the running binary was built from.
func Read() Info {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Info{Version: cmp.Or(built, devel), Commit: commit, Go: runtime.Version()}
	}
	return infoIn(info, built, commit)
}

func infoIn(info *debug.BuildInfo, built, commit string) Info {
	read := Info{Version: devel, Commit: commit, Go: info.GoVersion}
	if caddy := dependency(info, caddyPath); caddy != nil {
		read.Caddy = caddy.Version
	}
	if info.Main.Path == modulePath {
		read.Commit = cmp.Or(commit, revision(info.Settings))
		read.Version = cmp.Or(built, released(&info.Main), read.Commit, devel)
	} else if ours := dependency(info, modulePath); ours != nil {
		read.Version = cmp.Or(released(ours), built, devel)
	}
	return read
}

// dependency returns the module of a path, as far as it is not the main one, and what it
// is replaced by if that counts; nil if it is not in the binary.
func dependency(info *debug.BuildInfo, path string) *debug.Module {
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == path })
	if i < 0 {
		return nil
	}
	if replaced := info.Deps[i].Replace; replaced != nil {
		return replaced
	}
	return info.Deps[i]
}

// released returns the version of a module, "" if it has none.
func released(m *debug.Module) string {
	if m.Version == devel {
		return ""
	}
	return m.Version
}

// revision returns what the main module was built from, "" if that is unknown.
func revision(settings []debug.BuildSetting) string {
	for _, setting := range settings {
		if setting.Key == "vcs.revision" {
			return setting.Value
		}
	}
	return ""
}
