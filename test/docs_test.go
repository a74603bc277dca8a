package test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// documents returns the Markdown files that users read, by their path from the
// root of the repository.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		paths, err := filepath.Glob("../" + pattern)
		must(t, err)
		if len(paths) == 0 {
			t.Fatalf("there is no %s", pattern)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			must(t, err)
			texts[strings.TrimPrefix(path, "../")] = string(text)
		}
	}
	return texts
}

// TestDocs_links verifies that every link within the repository leads to a file and, where
// it names one, to a heading.
func TestDocs_links(t *testing.T) {
	t.Parallel()
	texts := documents(t)
	headings := make(map[string][]string)
	for path, text := range texts {
		headings[path] = anchors(text)
	}
	link := regexp.MustCompile(`\]\(([^()\s]+)\)|(?m)^\[[^]]+\]: (\S+)$`)
	found := 0
	for path, text := range texts {
		for _, match := range link.FindAllStringSubmatch(withoutCode(text), -1) {
			target := match[1] + match[2]
			if strings.Contains(target, "://") {
				continue
			}
			found++
			file, anchor, anchored := strings.Cut(target, "#")
			file = filepath.Join(filepath.Dir(path), file)
			if strings.HasPrefix(target, "#") {
				file = path
			}
			if _, err := os.Stat(filepath.Join("..", file)); err != nil {
				t.Errorf("%s links to %s: %v", path, target, err)
				continue
			}
			if anchored && !slices.Contains(headings[file], anchor) {
				t.Errorf("%s links to %s, which has no such heading", path, target)
			}
		}
	}
	if found == 0 {
		t.Error("no document links to another")
	}
}

// withoutCode removes the blocks of code, in which brackets are no links and #
// begins no heading.
func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(text, "")
}

// anchors returns the anchors of a document's headings, as GitHub makes them.
func anchors(text string) []string {
	var all []string
	seen := make(map[string]int)
	for _, match := range regexp.MustCompile(`(?m)^#+ +(.+)$`).FindAllStringSubmatch(withoutCode(text), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(match[1]))
		if n := seen[anchor]; n > 0 {
			all = append(all, anchor+"-"+strconv.Itoa(n))
		} else {
			all = append(all, anchor)
		}
		seen[anchor]++
	}
	return all
}

// TestDocs_caddyfiles verifies that every Caddyfile that the documents show is one that
// Caddy takes.
func TestDocs_caddyfiles(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?ms)^```caddyfile\n(.*?)^```$")
	found := 0
	for path, text := range documents(t) {
		for i, match := range block.FindAllStringSubmatch(text, -1) {
			found++
			t.Run(path+"/"+strconv.Itoa(i+1), func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				secret := strings.Repeat("a1", 32)
				s.Env = []string{
					"API_KEYS_ADMIN_TOKEN=an-admin-token-of-the-test", "API_KEYS_BACKUP_KEY=" + secret, "API_KEYS_ENCRYPTION_KEY=" + secret,
					"ETCD_PASSWORD=x", "API_KEYS_FLEET_KEY=" + secret, "API_KEYS_FLEET_KEY_OLD=" + secret,
					"API_KEYS_WEBHOOK_SECRET=" + hookSecret(t.Name()),
				}
				file := filepath.Join(s.Dir, "Caddyfile")
				// Caddy opens log files when it validates.
				shown := strings.ReplaceAll(match[1], " /var/log/", " "+s.Dir+"/")
				// It also reads the keys that may sign reports of leaked tokens.
				keys := filepath.Join(s.Dir, "github-keys.json")
				newReporter(t, keys)
				shown = strings.ReplaceAll(shown, "/etc/caddy-api-keys/github-keys.json", keys)
				must(t, os.WriteFile(file, []byte(shown), 0o600))
				cmd := s.Command("adapt", "--validate", "--config", file)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v:\n%s\n%s", err, shown, out)
				}
				formatted, err := exec.Command(s.Tool, "fmt", file).Output()
				if must(t, skipDiff(err)); string(formatted) != shown {
					t.Errorf("caddy fmt would change it to:\n%s", formatted)
				}
			})
		}
	}
	if found == 0 {
		t.Error("no document has a Caddyfile")
	}
}

// skipDiff lets pass that caddy fmt ends with a status above 0 where it would
// change a file: what it would make of it says more.
func skipDiff(err error) error {
	if _, differs := err.(*exec.ExitError); differs {
		return nil
	}
	return err
}

// TestDocs_metrics verifies that the documents name the metrics that there are, and no
// others.
func TestDocs_metrics(t *testing.T) {
	t.Parallel()
	inDocs, inCode := make(map[string]bool), make(map[string]bool)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, text := range documents(t) {
		// With a colon before it, it is what a rule has recorded.
		for _, match := range regexp.MustCompile(`[^:](caddy_api_keys_[a-z_]*[a-z])`).FindAllStringSubmatch(text, -1) {
			inDocs[suffix.ReplaceAllString(match[1], "")] = true
		}
	}
	sources, err := filepath.Glob("../internal/metrics/*.go")
	must(t, err)
	for _, path := range sources {
		source, err := os.ReadFile(path)
		must(t, err)
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		for _, match := range regexp.MustCompile(`"(caddy_api_keys_[a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
			inCode[match[1]] = true
		}
	}
	if len(inCode) == 0 {
		t.Fatal("the code has no metrics")
	}
	if got, want := slices.Sorted(maps.Keys(inDocs)), slices.Sorted(maps.Keys(inCode)); !slices.Equal(got, want) {
		t.Errorf("got the metrics %q in the documents, want %q", got, want)
	}
}

// TestDocs_tests verifies that the tests which the documents name exist.
func TestDocs_tests(t *testing.T) {
	t.Parallel()
	exist := make(map[string]bool)
	must(t, filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`).FindAllStringSubmatch(string(source), -1) {
			exist[match[1]] = true
		}
		return err
	}))
	named := 0
	for path, text := range documents(t) {
		if path == "CONTRIBUTING.md" {
			continue // its names are examples
		}
		for _, name := range regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+`).FindAllString(text, -1) {
			named++
			if !exist[name] {
				t.Errorf("%s names %s, and there is no such test", path, name)
			}
		}
	}
	if named == 0 {
		t.Error("no document names a test")
	}
}

// TestDocs_wholeLists verifies that what the documents tell a program to read of a list is
// all of it: what lies beyond the first page would be missed without a word.
func TestDocs_wholeLists(t *testing.T) {
	lists := regexp.MustCompile("caddy api-keys (?:list|find|workspaces|audit|suspensions)\\b[^`\\n|]*\\|")
	found := 0
	for name, text := range documents(t) {
		for _, piped := range lists.FindAllString(text, -1) {
			if found++; !strings.Contains(piped, " --all ") {
				t.Errorf("%s: %q reads one page only", name, piped)
			}
		}
	}
	if found == 0 {
		t.Error("no document has a list in a pipe")
	}
}
