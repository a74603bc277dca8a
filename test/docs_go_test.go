package test

import (
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// goPrelude begins the file that a piece of Go is read in, unless it is a file itself.
const goPrelude = `package docs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/admin/client/clienttest"
	"github.com/agiled/caddy-api-keys/identity"
)
`

// goReader has what a piece of Go takes from the program of its reader.
const goReader = `
type app struct{}
type oldKey struct{}

func (oldKey) line() (line client.ImportLine) { return line }

var api http.Handler

func newApp(url, token string) (a app)       { return a }
func (app) onboard(context.Context, string)  {}
func show(token string)                      {}
func oldKeys() []oldKey                       { return nil }
func tryAnotherName(message string) error    { return nil }
func tryAgainIn(wait time.Duration) error    { return nil }

func reader(t *testing.T, ctx context.Context, c *client.Client, file io.Writer, err error) error {
`

// TestDocs_go verifies that every piece of Go in the documents compiles, and is formatted.
func TestDocs_go(t *testing.T) {
	t.Parallel()
	imports := exportData(t)
	block := regexp.MustCompile("(?ms)^```go\n(.*?)^```$")
	found := 0
	for path, text := range documents(t) {
		for _, match := range block.FindAllStringSubmatch(text, -1) {
			found++
			piece := match[1]
			if formatted, err := format.Source([]byte(piece)); err != nil || string(formatted) != piece {
				t.Errorf("%s: gofmt would change it (%v):\n%s", path, err, piece)
			}
			for _, err := range typeErrors(t, wholeFile(piece), imports) {
				t.Errorf("%s: %v in:\n%s", path, err, piece)
			}
		}
	}
	if found == 0 {
		t.Error("no document has Go")
	}
}

// wholeFile makes a file of declarations or statements.
func wholeFile(piece string) string {
	switch {
	case strings.HasPrefix(piece, "package "):
		return piece
	case strings.HasPrefix(piece, "func "):
		return goPrelude + piece
	}
	return goPrelude + goReader + "{\n" + piece + "}\nreturn err\n}\n"
}

// typeErrors returns why a file does not compile. A name that is not used is no reason:
// the reader's program uses it.
func typeErrors(t *testing.T, source string, imports types.Importer) (errs []error) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "docs.go", source, 0)
	if err != nil {
		return []error{err}
	}
	config := types.Config{Importer: imports, Error: func(err error) {
		if typed, ok := err.(types.Error); !ok || !typed.Soft {
			errs = append(errs, err)
		}
	}}
	_, _ = config.Check("docs", files, []*ast.File{file}, nil)
	return errs
}

// exportData returns an importer of what the go command has compiled.
func exportData(t *testing.T) types.Importer {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-export", "-f", "{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}",
		"log", "testing", "github.com/agiled/caddy-api-keys/admin/client/clienttest", "github.com/agiled/caddy-api-keys/identity")
	list.Stderr = os.Stderr
	out, err := list.Output()
	must(t, err)
	compiled := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		compiled[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(compiled[path])
	})
}
