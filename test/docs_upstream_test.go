package test

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestDocs_upstreams verifies that what upstream.md shows of programs in other languages is
// a part of the examples, which are run.
func TestDocs_upstreams(t *testing.T) {
	t.Parallel()
	var examples []string
	must(t, fs.WalkDir(os.DirFS("../identity/examples"), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile("../identity/examples/" + path)
		examples = append(examples, string(text))
		return err
	}))
	text, err := os.ReadFile("../docs/upstream.md")
	must(t, err)
	shown := make(map[string]int)
	for _, block := range regexp.MustCompile("(?ms)^```(js|python|java)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		shown[block[1]]++
		found := false
		for _, example := range examples {
			found = found || strings.Contains(example, block[2])
		}
		if !found {
			t.Errorf("upstream.md shows %s that no example has:\n%s", block[1], block[2])
		}
	}
	if shown["js"] != 2 || shown["python"] != 1 || shown["java"] != 1 {
		t.Errorf("upstream.md shows %v, want 2 of js, 1 of python and 1 of java", shown)
	}
}
