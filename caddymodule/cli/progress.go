package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows the progress of a long operation on a terminal. What has been
// processed is written to it. Its own failures never fail the command.
type progress struct {
	bar     *progressbar.ProgressBar
	unknown bool // length: it shows the time instead
}

// unknownLength is the total of an operation of unknown length.
const unknownLength = -1

// newProgress returns the progress of a total of bytes, or of [unknownLength]. It shows
// nothing unless standard error is a terminal.
func newProgress(out io.Writer, what string, total int64) *progress {
	return progressOf(out, what, total, term.IsTerminal(int(os.Stderr.Fd())))
}

// newCount returns the progress of a number of things other than bytes, on a terminal.
func newCount(out io.Writer, what string, total int) *progress {
	return progressOf(out, what, int64(total), true, progressbar.OptionShowBytes(false), progressbar.OptionShowCount())
}

func progressOf(out io.Writer, what string, total int64, visible bool, others ...progressbar.Option) *progress {
	endLine := func() {
		if visible {
			fmt.Fprintln(out)
		}
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(total != unknownLength),
		progressbar.OptionThrottle(100 * time.Millisecond),
		progressbar.OptionSetRenderBlankState(visible),
		progressbar.OptionOnCompletion(endLine),
	}
	return &progress{unknown: total == unknownLength, bar: progressbar.NewOptions64(total, append(options, others...)...)}
}

func (p *progress) Write(b []byte) (int, error) {
	_ = p.bar.Add(len(b))
	return len(b), nil
}

// end ends the line. An operation that failed stays at its last progress.
func (p *progress) end() {
	switch {
	case p.unknown:
		_ = p.bar.Finish()
	case !p.bar.IsFinished():
		_ = p.bar.Exit()
	}
}
