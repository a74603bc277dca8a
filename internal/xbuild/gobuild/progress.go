package gobuild

import (
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// Progress says what a build is doing: on a terminal in one line that changes, elsewhere
// in a line when a step begins, and in further ones while it takes long. It is not safe
// for concurrent use.
type Progress struct {
	out  io.Writer
	live bool
	now  func() time.Time

	step  string    // "" between steps
	count int       // of what the step is done to
	begun time.Time // when the step began
	said  time.Time // when it was last shown
}

const (
	liveInterval = 100 * time.Millisecond
	logInterval  = 30 * time.Second
)

// NewProgress returns a progress that is written to a file, such as standard error.
func NewProgress(out *os.File) *Progress {
	return &Progress{out: out, live: term.IsTerminal(int(out.Fd())), now: time.Now}
}

// Begin ends the step that was under way and begins another, such as "compiling packages".
func (p *Progress) Begin(step string) {
	p.End()
	p.step, p.count = step, 0
	p.begun = p.now()
	p.show()
}

// Add counts one more of what the step is done to.
func (p *Progress) Add() {
	p.count++
	interval := logInterval
	if p.live {
		interval = liveInterval
	}
	if p.now().Sub(p.said) >= interval {
		p.show()
	}
}

// End ends the step that was under way, if there was one.
func (p *Progress) End() {
	if p.live && p.step != "" {
		p.show()
		fmt.Fprintln(p.out)
	}
	p.step = ""
}

// show writes the state of the step.
func (p *Progress) show() {
	p.said = p.now()
	line := p.step
	if p.count > 0 {
		line += fmt.Sprintf(": %d", p.count)
	}
	if took := p.said.Sub(p.begun).Round(time.Second); took > 0 {
		line += fmt.Sprintf(" in %s", took)
	}
	if p.live {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}
