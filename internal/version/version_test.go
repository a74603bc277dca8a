package version

import (
	"runtime/debug"
	"testing"
)

func TestVersion(t *testing.T) {
	caddy := debug.Module{Path: "caddy", Version: "v9.9.9"}
	ours := func(version string, replace *debug.Module) debug.Module {
		return debug.Module{Path: modulePath, Version: version, Replace: replace}
	}
	custom := func(m debug.Module) debug.BuildInfo {
		// The revision of a custom build is not ours.
		return debug.BuildInfo{Main: caddy, Deps: []*debug.Module{&caddy, &m}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "deadbeef"}}}
	}
	for _, test := range []struct {
		name  string
		info  debug.BuildInfo
		built string
		want  string
	}{
		{"a custom build with a release", custom(ours("v1.2.3", nil)), "", "v1.2.3"},
		{"a custom build with a fork", custom(ours("v1.2.3", &debug.Module{Path: "fork", Version: "v1.2.4"})), "1.2.5", "v1.2.4"},
		{"a custom build with a directory", custom(ours("v0.0.0", &debug.Module{Path: "./", Version: "(devel)"})), "", "(devel)"},
		{"that says what it is of", custom(ours("v0.0.0", &debug.Module{Path: "./", Version: "(devel)"})), "1.2.5", "1.2.5"},
		{"our own build of a release", debug.BuildInfo{Main: ours("v1.2.3", nil)}, "", "v1.2.3"},
		{"our own build of a revision", debug.BuildInfo{
			Main: ours("(devel)", nil), Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "4844fbd"}},
		}, "", "4844fbd"},
		{"our own build without a revision", debug.BuildInfo{Main: ours("(devel)", nil)}, "", "(devel)"},
		{"a test", debug.BuildInfo{}, "", "(devel)"},
	} {
		if got := versionIn(&test.info, test.built); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestGet(t *testing.T) {
	if Get() == "" {
		t.Error(`got "", want a version or (devel)`)
	}
}
