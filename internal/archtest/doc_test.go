package archtest

import (
	"go/parser"
	"go/token"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every package has one package comment, in one file and in the form that go doc
// expects.
func TestPackages_sayWhatTheyAreFor(t *testing.T) {
	for _, p := range list(t) {
		files := p.GoFiles
		if len(files) == 0 {
			files = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		}
		var documented []string
		for _, name := range files {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc == nil {
				continue
			}
			documented = append(documented, name)
			want := "Package " + strings.TrimSuffix(f.Name.Name, "_test") + " "
			if f.Name.Name == "main" {
				want = "Command " + path.Base(p.ImportPath) + " "
			}
			if doc := f.Doc.Text(); !strings.HasPrefix(doc, want) {
				t.Errorf("%s/%s: the package comment begins %.30q, want %q", p.path(), name, doc, want)
			}
		}
		switch len(documented) {
		case 1:
		case 0:
			t.Errorf("%s has no package comment", p.path())
		default:
			t.Errorf("%s has a package comment in each of %s, want one", p.path(), strings.Join(documented, ", "))
		}
	}
}
