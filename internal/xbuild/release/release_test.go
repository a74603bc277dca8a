package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var released = time.Date(2026, 11, 30, 5, 0, 0, 0, time.UTC)

// sources writes the same files to a new directory, at the present time.
func sources(t *testing.T) []entry {
	t.Helper()
	dir := t.TempDir()
	entries := []entry{{"caddy-api-keys/caddy-api-keys", "program", 0o755}, {"caddy-api-keys/LICENSE", "licence", 0o644}}
	for i, e := range entries {
		entries[i].source = filepath.Join(dir, e.source)
		if err := os.WriteFile(entries[i].source, []byte("the "+e.source), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return entries
}

func TestArchives_sameBytesInOtherDirectories(t *testing.T) {
	for name, write := range map[string]func(io.Writer, []entry, time.Time) error{"tar": writeTar, "zip": writeZip} {
		var first, second bytes.Buffer
		for _, to := range []*bytes.Buffer{&first, &second} {
			if err := write(to, sources(t), released); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("%s: two archives of the same files differ", name)
		}
	}
}

func TestWriteTar(t *testing.T) {
	var archive bytes.Buffer
	if err := writeTar(&archive, sources(t), released); err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(&archive)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for reader := tar.NewReader(unpacked); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprintf("%s %o %s: %s", header.Name, header.Mode, header.ModTime.UTC().Format(time.DateOnly), content))
	}
	want := []string{"caddy-api-keys/caddy-api-keys 755 2026-11-30: the program", "caddy-api-keys/LICENSE 644 2026-11-30: the licence"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestWriteZip(t *testing.T) {
	var archive bytes.Buffer
	if err := writeZip(&archive, sources(t), released); err != nil {
		t.Fatal(err)
	}
	reader, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range reader.File {
		got = append(got, fmt.Sprintf("%s %o %s", f.Name, f.Mode(), f.Modified.UTC().Format(time.DateOnly)))
	}
	want := []string{"caddy-api-keys/caddy-api-keys 755 2026-11-30", "caddy-api-keys/LICENSE 644 2026-11-30"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The archives have the documents that the package has.
func TestDocuments(t *testing.T) {
	config, err := os.ReadFile("../../../deploy/deb/nfpm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, found := range regexp.MustCompile(`- src: (\S+)\n    dst: (/usr/share/doc/caddy-api-keys/\S+)\n`).FindAllStringSubmatch(string(config), -1) {
		if source := found[1]; source != "deploy/deb/copyright" {
			want = append(want, source)
		}
	}
	slices.Sort(want)
	if !slices.Equal(documents, want) {
		t.Errorf("got  %q\nwant %q", documents, want)
	}
}

// The documents link to nothing that users who have only these would not find.
func TestDocuments_links(t *testing.T) {
	t.Chdir("../../..")
	shipped := make(map[string]bool)
	for _, pattern := range documents {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: got %q and %v, want files", pattern, found, err)
		}
		for _, path := range found {
			for ; path != "."; path = filepath.Dir(path) { // with its directories
				shipped[path] = true
			}
		}
	}
	code := regexp.MustCompile("(?s)```.*?```|`[^`]*`")
	link := regexp.MustCompile(`\]\(([^()#\s]+)`)
	for path := range shipped {
		if filepath.Ext(path) != ".md" {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(code.ReplaceAllString(string(text), ""), -1) {
			if to := found[1]; !strings.Contains(to, "://") && !shipped[filepath.Join(filepath.Dir(path), to)] {
				t.Errorf("%s links to %s, which is not installed with it", path, to)
			}
		}
	}
}

func TestOfBothNames(t *testing.T) {
	for _, test := range []struct{ shell, script, want string }{
		{"bash", "complete -o default -F __start_caddy caddy\n", "complete -o default -F __start_caddy caddy caddy-api-keys\n"},
		{"zsh", "#compdef caddy\ncompdef _caddy caddy\n", "#compdef caddy caddy-api-keys\ncompdef _caddy caddy caddy-api-keys\n"},
		{"fish", "complete -c caddy -e\n", "complete -c caddy -e\ncomplete -c caddy-api-keys --wraps caddy\n"},
	} {
		got, err := ofBothNames(test.shell, test.script)
		if err != nil || got != test.want {
			t.Errorf("%s: got %q and %v, want %q", test.shell, got, err, test.want)
		}
	}
	if _, err := ofBothNames("bash", "another script"); err == nil {
		t.Error("a script without the name of the program: got no error")
	}
}

func TestFromEnvironment(t *testing.T) {
	for _, test := range []struct{ version, epoch, want string }{
		{"1.2.3", "1796014800", ""},
		{"1.2.3-rc.1", "1796014800", ""},
		{"", "1796014800", "VERSION"},
		{"v1.2.3", "1796014800", "VERSION"},
		{"1.2.3 -X main.x=y", "1796014800", "VERSION"},
		{"1.2.3", "", "SOURCE_DATE_EPOCH"},
	} {
		t.Setenv("VERSION", test.version)
		t.Setenv("SOURCE_DATE_EPOCH", test.epoch)
		err := new(release).fromEnvironment()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("version %q, time %q: got %v, want an error about %q", test.version, test.epoch, err, test.want)
		}
	}
}

func TestDebianVersion(t *testing.T) {
	for version, want := range map[string]string{"1.2.3": "1.2.3", "1.2.3-rc.1": "1.2.3~rc.1", "1.2.3-rc-1": "1.2.3~rc-1"} {
		if got := (&release{version: version}).debianVersion(); got != want {
			t.Errorf("%s: got %s, want %s", version, got, want)
		}
	}
}

func TestWithoutHashes(t *testing.T) {
	got, err := withoutHashes([]byte(`{"metadata":{"tools":[{"name":"cyclonedx-gomod","hashes":[{"alg":"MD5"}]}]},"components":[{"hashes":[{"alg":"SHA-256"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(got); strings.Contains(text, "MD5") || !strings.Contains(text, "SHA-256") || !strings.Contains(text, "cyclonedx-gomod") {
		t.Errorf("got %s, want all but the hashes of the tool", text)
	}
	if _, err := withoutHashes([]byte(`{}`)); err == nil {
		t.Error("a list that no tool wrote: got no error")
	}
}

func TestClear_keepsWhatIsNotOfARelease(t *testing.T) {
	t.Chdir(t.TempDir())
	r := &release{to: t.TempDir()}
	for _, name := range []string{"caddy-api-keys_1.2.3_amd64.deb", "another"} {
		if err := os.WriteFile(filepath.Join(r.to, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.clear(); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(r.to, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{filepath.Join(r.to, "another")}; !slices.Equal(left, want) {
		t.Errorf("got %q, want %q", left, want)
	}
}

func TestSum(t *testing.T) {
	r := &release{to: t.TempDir()}
	for _, name := range []string{"caddy-api-keys_b", "caddy-api-keys_a", "another"} {
		if err := os.WriteFile(filepath.Join(r.to, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.sum(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(r.to, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%x  caddy-api-keys_a\n%x  caddy-api-keys_b\n", sha256.Sum256([]byte("caddy-api-keys_a")), sha256.Sum256([]byte("caddy-api-keys_b"))); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A tag can have any name, and make hands its name to a shell.
func TestMake_namesOfTags(t *testing.T) {
	stubs := t.TempDir()
	for _, name := range []string{"go", "git", "awk"} {
		if err := os.WriteFile(filepath.Join(stubs, name), []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"build", "release", "release-notes", "deb"} {
		for _, version := range []string{"1;touch pwned;`touch pwned`$$(touch pwned)", "1';touch pwned;'", `1"];touch pwned;"`} {
			printed, err := exec.Command("make", "--no-print-directory", "-C", "../../..", "-n", target, "VERSION="+version, "COMMIT=x").Output()
			if err != nil {
				t.Fatalf("make -n %s: %v", target, err)
			}
			recipe := exec.Command("sh")
			recipe.Dir, recipe.Stdin = t.TempDir(), bytes.NewReader(printed)
			recipe.Env = []string{"PATH=" + stubs + ":" + os.Getenv("PATH"), "TMPDIR=" + recipe.Dir}
			_ = recipe.Run() // with programs that do nothing, it may fail
			if _, err := os.Stat(filepath.Join(recipe.Dir, "pwned")); err == nil {
				t.Errorf("make %s VERSION=%s: a part of the name was run", target, version)
			}
		}
	}
}
