// Package archtest enforces the project's architecture: which package may import which,
// that every package is documented, and that no test code gets into the product.
package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/agiled/caddy-api-keys"

// goPackage is the part of the output of go list -json that these tests need.
type goPackage struct {
	ImportPath, Dir                    string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports                            []string // of GoFiles alone
	TestImports, XTestImports          []string
}

// path returns the package's path in the repository, "." at the root.
func (p goPackage) path() string { return local(p.ImportPath) }

// local returns the path in the repository of one of the project's packages, and "" for
// any other import path.
func local(importPath string) string {
	if importPath == module {
		return "."
	}
	path, ok := strings.CutPrefix(importPath, module+"/")
	if !ok {
		return ""
	}
	return path
}

// within reports whether path is dir or below it. The root directory stands only for
// itself.
func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, dir+"/")
}

var listOnce = sync.OnceValues(func() ([]goPackage, error) {
	cmd := exec.Command("go", "list", "-pgo=off", "-json=ImportPath,Dir,GoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, errors.Join(err, errors.New(stderr.String()))
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); err == io.EOF {
			return pkgs, nil
		} else if err != nil {
			return nil, err
		}
		pkgs = append(pkgs, p)
	}
})

// list returns every package of the project.
func list(t *testing.T) []goPackage {
	t.Helper()
	pkgs, err := listOnce()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list found no package")
	}
	return pkgs
}
