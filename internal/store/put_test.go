package store

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Anything that writes a key, a suspension, a feed or an event writes its indexes and
// counts too, because only put.go does: nothing else writes below the keys of these
// records, or calls what writes indexes.
func TestPut_alone(t *testing.T) {
	keys := []string{"recordKey", "digestKey", "prefixKey", "workspaceKey", "suspensionKey", "feedKey", "workspaceFeedKey", "endedFeedKey", "eventKey", "eventIndexKey", "endKey"}
	indexers := []string{"reindex", "replaceEntry", "replaceEnding", "replaceInRoster", "replaceMember"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			writes := slices.Contains([]string{"Set", "Delete", "save"}, calledName(call))
			record := slices.ContainsFunc(call.Args, func(arg ast.Expr) bool {
				inner, ok := arg.(*ast.CallExpr)
				return ok && slices.Contains(keys, calledName(inner))
			})
			switch indexes := slices.Contains(indexers, calledName(call)); {
			case !indexes && !(writes && record):
			case name == "put.go", name == "ends.go" && writes: // replaceEnding itself
				found++
			default:
				t.Errorf("%s calls %s: only put.go may", name, calledName(call))
			}
			return true
		})
	}
	if found < 15 {
		t.Errorf("found %d calls in put.go, want those that write: is the test looking for the right names?", found)
	}
}

// calledName returns the name of the function or method that is called.
func calledName(call *ast.CallExpr) string {
	switch called := call.Fun.(type) {
	case *ast.Ident:
		return called.Name
	case *ast.SelectorExpr:
		return called.Sel.Name
	}
	return ""
}
