package version

import (
	"runtime/debug"
	"testing"
)

func TestRead(t *testing.T) {
	caddy := debug.Module{Path: caddyPath, Version: "v9.9.9"}
	ours := func(version string, replace *debug.Module) debug.Module {
		return debug.Module{Path: modulePath, Version: version, Replace: replace}
	}
	custom := func(m debug.Module) debug.BuildInfo {
		// The revision of a custom build is not ours.
		return debug.BuildInfo{Main: debug.Module{Path: "caddy"}, Deps: []*debug.Module{&caddy, &m}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "deadbeef"}}}
	}
	own := func(version string) debug.BuildInfo {
		return debug.BuildInfo{Main: ours(version, nil), Deps: []*debug.Module{&caddy}}
	}
	ownRevision := own("(devel)")
	ownRevision.Settings = []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: "vcs.revision", Value: "4844fbd"}}
	for _, test := range []struct {
		name          string
		info          debug.BuildInfo
		built, commit string
		want          Info
	}{
		{"a custom build with a release", custom(ours("v1.2.3", nil)), "", "", Info{Version: "v1.2.3", Caddy: "v9.9.9"}},
		{"a custom build with a fork", custom(ours("v1.2.3", &debug.Module{Path: "fork", Version: "v1.2.4"})), "1.2.5", "", Info{Version: "v1.2.4", Caddy: "v9.9.9"}},
		{"a custom build with a directory", custom(ours("v0.0.0", &debug.Module{Path: "./", Version: "(devel)"})), "", "", Info{Version: "(devel)", Caddy: "v9.9.9"}},
		{"that says what it is of", custom(ours("v0.0.0", &debug.Module{Path: "./", Version: "(devel)"})), "1.2.5", "4844fbd", Info{Version: "1.2.5", Commit: "4844fbd", Caddy: "v9.9.9"}},
		{"our own build of a release", own("v1.2.3"), "", "", Info{Version: "v1.2.3", Caddy: "v9.9.9"}},
		{"our own build of a revision", ownRevision, "", "", Info{Version: "4844fbd", Commit: "4844fbd", Caddy: "v9.9.9"}},
		{"our own build without a revision", own("(devel)"), "", "", Info{Version: "(devel)", Caddy: "v9.9.9"}},
		{"our own build that says what it is of", own("v0.0.0-2026"), "1.2.5", "4844fbd", Info{Version: "1.2.5", Commit: "4844fbd", Caddy: "v9.9.9"}},
		{"a test", debug.BuildInfo{}, "", "", Info{Version: "(devel)"}},
	} {
		if got := infoIn(&test.info, test.built, test.commit); got != test.want {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestGet(t *testing.T) {
	if Get() == "" {
		t.Error(`got "", want a version or (devel)`)
	}
}
