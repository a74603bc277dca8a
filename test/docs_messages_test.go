package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestDocs_messages verifies that the documents quote messages as the code has them, with …
// for what is left out or differs. What they show as code is a message if it reads like
// one: it has three words in a row, or is a sentence.
func TestDocs_messages(t *testing.T) {
	t.Parallel()
	shown := regexp.MustCompile("`([^`]+)`")
	message := regexp.MustCompile(`\b[a-z]{2,} [a-z]{2,} [a-z]{2,}\b|^[A-Z][a-z]* .*\.$`)
	texts := sourceTexts(t)
	quoted, others := 0, make(map[string]bool)
	for path, text := range documents(t) {
		if path == "CONTRIBUTING.md" {
			continue // its messages are examples
		}
		for _, match := range shown.FindAllStringSubmatch(withoutCode(text), -1) {
			said := strings.Join(strings.Fields(match[1]), " ")
			switch {
			case !message.MatchString(said):
			case slices.Contains(notOurs, said):
				others[said] = true
			default:
				quoted++
				if !slices.ContainsFunc(texts, asQuoted(said).MatchString) {
					t.Errorf("%s quotes %q, which is no message of the code", path, said)
				}
			}
		}
	}
	if quoted < 50 {
		t.Errorf("got %d messages, want those of all documents", quoted)
	}
	for _, said := range notOurs {
		if !others[said] {
			t.Errorf("no document has %q any more", said)
		}
	}
}

// notOurs read like messages of ours, and are commands, or messages of Caddy or of the
// operating system.
var notOurs = []string{
	"admin endpoint on open interface; host checking disabled",
	"caddy help completion",
	"cannot allocate memory",
	"Check/unknown to the filter",
	"client is not allowed to access from origin ''",
	"disk quota exceeded",
	"docker rm gateway",
	"etcdctl alarm disarm",
	"etcdctl endpoint status --cluster -w table",
	"etcdctl snapshot save",
	"file too large",
	"go tool pprof -top -cum cmd/caddy/default.pgo",
	"no locks available",
	"operation not supported",
	"promtool test rules rules_test.yml",
	"serving initial configuration",
	"stale file handle",
	"systemctl restart caddy-api-keys",
	"systemctl start caddy-api-keys",
	"systemctl stop caddy-api-keys",
	"systemd-analyze security caddy-api-keys",
	"too many open files",
	"too many open files in system",
}

// asQuoted returns a pattern of the texts that a document quotes as said. What healthz
// shows of changes begins with words of its own.
func asQuoted(said string) *regexp.Regexp {
	if _, reason, ok := strings.Cut(said, `"changes":"unavailable: `); ok {
		said = strings.TrimRight(reason, `"}`)
	}
	return regexp.MustCompile(strings.ReplaceAll(regexp.QuoteMeta(said), "…", ".*"))
}

// TestDocs_searches verifies that what the runbook looks for in the server's log is in
// messages of the code.
func TestDocs_searches(t *testing.T) {
	t.Parallel()
	searches := regexp.MustCompile(`journalctl .*grep [^"]*"([^"]+)"`).FindAllStringSubmatch(documents(t)["docs/runbook.md"], -1)
	if len(searches) == 0 {
		t.Fatal("the runbook looks for nothing in the log")
	}
	texts := sourceTexts(t)
	for _, search := range searches {
		for words := range strings.SplitSeq(search[1], `\|`) {
			if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, words) }) {
				t.Errorf("the runbook looks for %q in the log, and no message has it", words)
			}
		}
	}
}

// sourceTexts returns the string literals of the product, with … in place of what differs
// from one message to the next.
func sourceTexts(t *testing.T) []string {
	t.Helper()
	var texts []string
	verb := strings.NewReplacer("%q", `"…"`, "%s", "…", "%d", "…", "%v", "…", "%w", "…")
	must(t, filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, err := strconv.Unquote(literal.Value)
				must(t, err)
				texts = append(texts, verb.Replace(text))
			}
			return true
		})
		return nil
	}))
	return texts
}
