package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"
)

// TestClient_documentsEveryField checks that the public client says of each field what it
// means: its users have no other place to look.
func TestClient_documentsEveryField(t *testing.T) {
	fields := 0
	for _, p := range list(t) {
		if !within(p.path(), "admin/client") {
			continue
		}
		for _, name := range p.GoFiles {
			parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				spec, ok := n.(*ast.TypeSpec)
				if !ok || !spec.Name.IsExported() {
					return true
				}
				of, ok := spec.Type.(*ast.StructType)
				if !ok {
					return true
				}
				for _, field := range of.Fields.List {
					for _, name := range field.Names {
						if !name.IsExported() {
							continue
						}
						fields++
						if field.Doc == nil {
							t.Errorf("%s: %s.%s has no comment", p.path(), spec.Name, name)
						}
					}
				}
				return true
			})
		}
	}
	if fields == 0 {
		t.Error("found no fields")
	}
}
