// Package gobuild builds Go programs, and reports what it is doing.
package gobuild

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// versionPackage has the variables that say what the gateway was built from.
const versionPackage = "github.com/agiled/caddy-api-keys/internal/version"

// LinkerFlags returns the flags of a linker that strips debugging information, and sets
// the version and the commit unless they are "".
func LinkerFlags(version, commit string) string {
	flags := "-w -s"
	for _, variable := range [][2]string{{"built", version}, {"commit", commit}} {
		if variable[1] != "" {
			flags += " -X " + versionPackage + "." + variable[0] + "=" + variable[1]
		}
	}
	return flags
}

// Run runs a command that downloads modules and runs go build -v, as xcaddy does, to
// build the main package of a path. What the command prints is shown only if it fails.
func Run(cmd *exec.Cmd, main string, progress *Progress) error {
	watch := &watcher{main: main, progress: progress}
	cmd.Stdout, cmd.Stderr = watch, watch
	err := cmd.Run()
	progress.End()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, strings.Join(watch.printed, "\n"))
	}
	return nil
}

// printedLines is how much of what a failed command printed is shown.
const printedLines = 60

// watcher reads what a build prints.
type watcher struct {
	main     string
	progress *Progress
	step     string
	line     []byte   // the beginning of a line
	printed  []string // the last lines that did not only say what was under way
}

// Write reads a part of what the build prints.
func (w *watcher) Write(b []byte) (int, error) {
	w.line = append(w.line, b...)
	for {
		line, rest, complete := bytes.Cut(w.line, []byte("\n"))
		if !complete {
			return len(b), nil
		}
		w.read(strings.TrimSuffix(string(line), "\r"))
		w.line = rest
	}
}

var (
	downloadLine = regexp.MustCompile(`^go: downloading \S+ v\S+$`)
	packageLine  = regexp.MustCompile(`^[\w.~-]+(/[\w.~-]+)*$`)
)

func (w *watcher) read(line string) {
	switch {
	case downloadLine.MatchString(line):
		w.during("downloading modules")
	case line == w.main: // go build says so when it begins to compile it, and then links
		w.begin("linking")
	case packageLine.MatchString(line):
		w.during("compiling packages")
	default:
		w.printed = append(w.printed, line)
		w.printed = w.printed[max(0, len(w.printed)-printedLines):]
	}
}

// during counts one of what a step is done to.
func (w *watcher) during(step string) {
	w.begin(step)
	w.progress.Add()
}

// begin begins a step unless it is under way.
func (w *watcher) begin(step string) {
	if w.step != step {
		w.step = step
		w.progress.Begin(step)
	}
}
