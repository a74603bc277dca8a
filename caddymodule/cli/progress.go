package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows on a terminal how far something long has got. What has been done is
// written to it. Nothing that goes wrong with it fails the command.
type progress struct {
	bar       *progressbar.ProgressBar
	ofUnknown bool // length, so that it shows the time instead
}

// unknownLength is the total of something of which nobody knows how long it takes.
const unknownLength = -1

// newProgress returns the progress of a total of bytes, or of [unknownLength]. It shows
// nothing unless standard error is a terminal.
func newProgress(out io.Writer, what string, total int64) *progress {
	return progressOf(out, what, total, term.IsTerminal(int(os.Stderr.Fd())))
}

func progressOf(out io.Writer, what string, total int64, visible bool) *progress {
	endLine := func() {
		if visible {
			fmt.Fprintln(out)
		}
	}
	return &progress{ofUnknown: total == unknownLength, bar: progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what),
		progressbar.OptionSetWidth(30),
		progressbar.OptionShowBytes(total != unknownLength),
		progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetRenderBlankState(visible),
		progressbar.OptionOnCompletion(endLine),
	)}
}

func (p *progress) Write(b []byte) (int, error) {
	_ = p.bar.Add(len(b))
	return len(b), nil
}

// end ends the line. What has not come to its end stays as far as it got.
func (p *progress) end() {
	switch {
	case p.ofUnknown:
		_ = p.bar.Finish()
	case !p.bar.IsFinished():
		_ = p.bar.Exit()
	}
}
