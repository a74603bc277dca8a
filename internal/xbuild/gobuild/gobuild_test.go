package gobuild

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// output is what a build prints.
const output = `go: downloading github.com/caddyserver/caddy/v2 v2.11.9
go: downloading go.uber.org/zap v1.27.1
2026/11/30 05:00:00 [INFO] exec (timeout=0s): /usr/bin/go build -o dist/caddy
internal/goarch
github.com/caddyserver/caddy/v2
gopkg.in/yaml.v3
caddy
`

func TestProgress(t *testing.T) {
	for _, test := range []struct {
		name string
		live bool
		want string
	}{
		{"in a log", false, "downloading modules\ndownloading modules: 2 in 31s\n" +
			"compiling packages\ncompiling packages: 2 in 31s\ncompiling packages: 3 in 1m2s\nlinking\n"},
		{"on a terminal", true, "\r\x1b[Kdownloading modules\r\x1b[Kdownloading modules: 2 in 31s\r\x1b[Kdownloading modules: 2 in 1m33s\n" +
			"\r\x1b[Kcompiling packages\r\x1b[Kcompiling packages: 2 in 31s\r\x1b[Kcompiling packages: 3 in 1m2s\r\x1b[Kcompiling packages: 3 in 1m33s\n" +
			"\r\x1b[Klinking\r\x1b[Klinking\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			now := time.Date(2026, 11, 30, 5, 0, 0, 0, time.UTC)
			progress := &Progress{out: &out, live: test.live, now: func() time.Time { return now }}
			watch := &watcher{main: "caddy", progress: progress}
			for line := range strings.Lines(output) {
				if watch.step != "" {
					now = now.Add(31 * time.Second)
				}
				half := len(line) / 2 // a line may come in parts
				for _, part := range []string{line[:half], line[half:]} {
					if _, err := watch.Write([]byte(part)); err != nil {
						t.Fatal(err)
					}
				}
			}
			progress.End()
			if got := out.String(); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestRun_saysWhyItFailed(t *testing.T) {
	cmd := exec.Command("go", "build", "-v", "./does-not-exist")
	err := Run(cmd, "does-not-exist", &Progress{out: new(bytes.Buffer), now: time.Now})
	if err == nil || !strings.Contains(err.Error(), "exit status 1\n") || !strings.Contains(err.Error(), "does-not-exist") {
		t.Errorf("got %v, want the exit status, and what go printed", err)
	}
}

func TestLinkerFlags(t *testing.T) {
	const variable = " -X github.com/agiled/caddy-api-keys/internal/version."
	for _, test := range []struct{ version, commit, want string }{
		{"", "", "-w -s"},
		{"1.2.3", "", "-w -s" + variable + "built=1.2.3"},
		{"1.2.3", "4844fbd", "-w -s" + variable + "built=1.2.3" + variable + "commit=4844fbd"},
	} {
		if got := LinkerFlags(test.version, test.commit); got != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.version, test.commit, got, test.want)
		}
	}
}
