package archtest

import (
	"slices"
	"strings"
	"testing"
)

// domain is the vocabulary of every layer above it.
var domain = []string{"internal/apikey", "identity"}

// A layer is a directory with the packages below it. They may import each other, and from
// the rest of the project only what mayImport names.
type layer struct {
	dir       string
	mayImport []string
	optional  bool // not every version of the project has it
}

// layers is the whole project, from the bottom up: imports go one way.
var layers = []layer{
	{dir: "internal/apikey"},
	{dir: "identity"},
	{dir: "internal/sethash", mayImport: []string{"internal/apikey"}},
	{dir: "internal/assertion", mayImport: domain},
	{dir: "internal/ratelimit"},
	{dir: "internal/doctor"},
	{dir: "internal/durable", mayImport: []string{"internal/doctor"}},
	{dir: "internal/unread"},
	{dir: "internal/version"},
	{dir: "internal/present", mayImport: []string{"internal/apikey", "internal/doctor", "admin/client"}},
	{dir: "internal/webhook", mayImport: []string{"internal/apikey", "internal/present", "admin/client"}},
	{dir: "internal/delivery", mayImport: []string{"internal/webhook"}},

	// These never import each other, except that metrics counts the decisions of
	// authn. Each declares what it needs from another as a small interface, and
	// caddymodule connects them.
	{dir: "internal/store", mayImport: append([]string{"internal/doctor", "internal/durable", "internal/sethash", "internal/webhook"}, domain...)},
	{dir: "internal/authn", mayImport: append([]string{"internal/assertion", "internal/ratelimit"}, domain...)},
	{dir: "internal/fleet", mayImport: append([]string{"internal/sethash", "internal/webhook"}, domain...), optional: true},
	{dir: "internal/metrics", mayImport: append([]string{"internal/authn"}, domain...)},
	{dir: "internal/leaks", mayImport: append([]string{"internal/unread"}, domain...)},
	{dir: "admin/client/clienttest", mayImport: []string{"admin", "internal/store", "internal/apikey"}},
	{dir: "admin/client"},
	{dir: "internal/migrate", mayImport: []string{"internal/apikey", "admin/client"}},
	{dir: "admin", mayImport: append([]string{"internal/doctor", "internal/present", "internal/unread"}, domain...)},

	{dir: "caddymodule/cli", mayImport: []string{"internal/apikey", "internal/migrate", "internal/present", "internal/store", "internal/version", "admin/client"}},
	{dir: "caddymodule", mayImport: append([]string{
		"internal/assertion", "internal/delivery", "internal/doctor", "internal/store", "internal/authn", "internal/fleet", "internal/leaks", "internal/metrics", "internal/ratelimit", "internal/unread", "internal/version", "internal/webhook", "admin",
	}, domain...)},

	// What is built and run.
	{dir: ".", mayImport: []string{"caddymodule"}},
	{dir: "examples"},
	{dir: "cmd", mayImport: []string{"caddymodule"}},

	// What builds and tests.
	{dir: "internal/archtest"},
	{dir: "internal/etcdtest", mayImport: []string{"internal/gatewaytest", "internal/testenv"}},
	{dir: "internal/gatewaytest", mayImport: []string{"admin/client"}},
	{dir: "internal/testenv"},
	{dir: "internal/upstreamtest", mayImport: []string{"internal/testenv"}},
	{dir: "internal/xbuild"},
	{dir: "test", optional: true, mayImport: append([]string{
		"internal/store", "internal/authn", "internal/fleet", "admin", "caddymodule", "internal/etcdtest", "internal/gatewaytest", "internal/testenv", "internal/upstreamtest",
	}, domain...)},
}

// A library is a dependency that only some layers may import, so that it can be replaced
// or reasoned about in one place.
type library struct {
	path     string
	owners   []string
	tests    bool // the tests of other layers may not import it either
	optional bool // not imported by every version of the project
}

var libraries = []library{
	{path: "github.com/caddyserver/caddy/v2", owners: []string{"caddymodule", "cmd", ".", "test"}},
	{path: "github.com/dgraph-io/badger", owners: []string{"internal/durable"}, tests: true},
	{path: "go.etcd.io/etcd", owners: []string{"internal/fleet"}, optional: true},
	{path: "testing/synctest", owners: []string{"internal/testenv"}, tests: true},
}

// Programs that import the client get nothing else with it.
func TestImports_clientIsSmall(t *testing.T) {
	for _, p := range list(t) {
		if p.path() != "admin/client" {
			continue
		}
		for _, imported := range p.Imports {
			if root, _, _ := strings.Cut(imported, "/"); strings.Contains(root, ".") {
				t.Errorf("%s imports %s; it may import only the standard library", p.path(), imported)
			}
		}
		return
	}
	t.Error("admin/client: there is no such package")
}

// layerOf returns the layer that the package at path belongs to.
func layerOf(path string) (layer, bool) {
	i := slices.IndexFunc(layers, func(l layer) bool { return within(path, l.dir) })
	if i < 0 {
		return layer{}, false
	}
	return layers[i], true
}

func TestImports_goOneWay(t *testing.T) {
	present := map[string]bool{}
	for _, p := range list(t) {
		from, ok := layerOf(p.path())
		if !ok {
			t.Errorf("%s is in no layer: decide what it may import, and add it to the table", p.path())
			continue
		}
		present[from.dir] = true
		for _, imported := range p.Imports {
			to := local(imported)
			if to == "" || within(to, from.dir) {
				continue
			}
			if !slices.ContainsFunc(from.mayImport, func(dir string) bool { return within(to, dir) }) {
				t.Errorf("%s imports %s; of the project it may import %s", p.path(), to, orNothing(from.mayImport))
			}
		}
	}
	for _, l := range layers {
		if !present[l.dir] && !l.optional {
			t.Errorf("%s: there is no such package; the table must name the project as it is", l.dir)
		}
	}
}

func TestImports_librariesStayWithTheirOwners(t *testing.T) {
	pkgs := list(t)
	for _, lib := range libraries {
		used := false
		for _, p := range pkgs {
			imports := p.Imports
			if lib.tests {
				imports = slices.Concat(p.Imports, p.TestImports, p.XTestImports)
			}
			for _, imported := range imports {
				if !within(imported, lib.path) {
					continue
				}
				used = true
				if !slices.ContainsFunc(lib.owners, func(dir string) bool { return within(p.path(), dir) }) {
					t.Errorf("%s imports %s; only %s may", p.path(), imported, strings.Join(lib.owners, ", "))
				}
			}
		}
		if !used && !lib.optional {
			t.Errorf("no package imports %s; the table must name the project's libraries as they are", lib.path)
		}
	}
}

// Package testing registers flags and makes the binary larger.
func TestImports_noTestCodeInTheProduct(t *testing.T) {
	allowed := []string{"internal/etcdtest", "internal/gatewaytest", "internal/testenv", "internal/upstreamtest", "internal/webhook/outboxtest", "admin/client/clienttest", "test"}
	for _, p := range list(t) {
		if slices.ContainsFunc(allowed, func(dir string) bool { return within(p.path(), dir) }) {
			continue
		}
		for _, imported := range p.Imports {
			if within(imported, "testing") {
				t.Errorf("%s imports %s outside its tests; only %s may", p.path(), imported, strings.Join(allowed, ", "))
			}
		}
	}
}

func orNothing(dirs []string) string {
	if len(dirs) == 0 {
		return "nothing"
	}
	return "only " + strings.Join(dirs, ", ")
}
