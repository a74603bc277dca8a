// Package version says which version of the gateway is in the running binary.
package version

import (
	"cmp"
	"runtime/debug"
	"slices"
)

const modulePath = "github.com/agiled/caddy-api-keys"

// built is the version of a build from a directory, set by the linker: Go records
// none where this module is not the main one.
var built string

// devel is the version that Go gives to what was built from a directory.
const devel = "(devel)"

// Get returns the version of this module in the running binary, or the revision
// that it was built from if it has none.
func Get() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return devel
	}
	return versionIn(info, built)
}

func versionIn(info *debug.BuildInfo, built string) string {
	if info.Main.Path == modulePath {
		return cmp.Or(released(&info.Main), revision(info.Settings), devel)
	}
	i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == modulePath })
	if i < 0 {
		return devel
	}
	return cmp.Or(released(info.Deps[i]), built, devel)
}

// released returns the version of a module, "" if it has none. What it is
// replaced by counts.
func released(m *debug.Module) string {
	if m.Replace != nil {
		m = m.Replace
	}
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
