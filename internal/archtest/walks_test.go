package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// step is a line of a walk in CONTRIBUTING.md.
var step = regexp.MustCompile("(?m)^(\\d+)\\. `([^`]+\\.go)`, `([^`]+)`: .+$")

// TestWalks checks that the walks in CONTRIBUTING.md name functions that exist, in at
// most a dozen steps each.
func TestWalks(t *testing.T) {
	const root = "../.."
	text, err := os.ReadFile(filepath.Join(root, "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\n## Two walks\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	steps := step.FindAllStringSubmatch(section, -1)
	if want := strings.Count(section, "`: "); !found || len(steps) != want || want == 0 {
		t.Fatalf("got %d steps, want %d", len(steps), want)
	}
	walks := 0
	for _, s := range steps {
		number, file, name := s[1], s[2], s[3]
		if number == "1" {
			walks++
		}
		if len(number) > 1 && number > "12" {
			t.Errorf("got step %s, want a dozen at most", number)
		}
		if !functions(t, filepath.Join(root, file))[name] {
			t.Errorf("step %s: %s has no function %s", number, file, name)
		}
	}
	if walks != 2 {
		t.Errorf("got %d walks, want 2", walks)
	}
}

// functions returns the functions in a file, methods with the type before them.
func functions(t *testing.T, file string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Error(err)
		return nil
	}
	all := make(map[string]bool)
	for _, declared := range parsed.Decls {
		if f, ok := declared.(*ast.FuncDecl); ok {
			all[receiver(f)+f.Name.Name] = true
		}
	}
	return all
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	if name, ok := of.(*ast.Ident); ok {
		return name.Name + "."
	}
	return ""
}
