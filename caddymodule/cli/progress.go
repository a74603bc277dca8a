package cli

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// progress says on a terminal how far something long has come. It is told, or
// has written to it what is done.
type progress struct {
	out         io.Writer
	what        string
	done, total int64 // of what is written to it
	last        time.Time
	told        bool
	full        bool // it has said that all is done
}

func newProgress(out io.Writer, what string) *progress {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		out = io.Discard
	}
	return &progress{out: out, what: what}
}

func (p *progress) Write(b []byte) (int, error) {
	p.done += int64(len(b))
	p.tell(p.done, p.total)
	return len(b), nil
}

func (p *progress) tell(done, total int64) {
	if now := time.Now(); !p.full && (done == total || now.Sub(p.last) >= 100*time.Millisecond) {
		const width = 30
		filled := int(width * done / max(total, 1))
		fmt.Fprintf(p.out, "\r[%-*s] %s of %s %s ", width, "=============================="[:filled], humanize.Bytes(uint64(done)), humanize.Bytes(uint64(total)), p.what)
		p.last, p.told, p.full = now, true, done == total
	}
}

func (p *progress) end() {
	if p.told {
		fmt.Fprintln(p.out)
	}
}

// elapsed says on a terminal, every second, for how long something has gone on
// of which it cannot be told how far it has come. It stops when it is told to.
func elapsed(out io.Writer, what string) (stop func()) {
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		return func() {}
	}
	ended, told := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(told)
		begun, ticker := time.Now(), time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			fmt.Fprintf(out, "\r%s: %d s ", what, int(time.Since(begun).Seconds()))
			select {
			case <-ticker.C:
			case <-ended:
				fmt.Fprintln(out)
				return
			}
		}
	}()
	return func() {
		close(ended)
		<-told
	}
}
