// Package markdown writes figures into a report that is otherwise written by hand.
package markdown

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// Replace replaces the figures in a report that are between two comments with their
// name.
func Replace(path, name, figures string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	before, rest, ok := strings.Cut(string(content), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return fmt.Errorf("%s has no %s … %s to put the figures in", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n"+figures+"\n"+end+after), 0o644)
}

// Machine describes when, where and with what figures were measured.
func Machine() string {
	return fmt.Sprintf("%s, %d cores of %s, %s, %s, Caddy %s",
		time.Now().UTC().Format("2 January 2006"), runtime.NumCPU(), processor(), Said("uname", "-sr"), runtime.Version(), caddy())
}

func processor() string {
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "an unknown processor"
}

// caddy returns the version of Caddy in the build.
func caddy() string {
	return Said("go", "list", "-m", "-f", "{{.Version}}", "github.com/caddyserver/caddy/v2")
}

// Said returns the first line that a program prints.
func Said(program string, args ...string) string {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return program + ": " + err.Error()
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
