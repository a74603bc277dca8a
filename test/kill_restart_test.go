package test

import (
	"os"
	"path/filepath"
	"regexp"
	"time"
)

// restart starts the server once more. Now and then it is killed while it does,
// and again.
func (o *ordeal) restart() {
	o.t.Helper()
	for o.chance.IntN(4) == 0 {
		o.launchAgain()
		select {
		case <-time.After(o.within(o.ready)):
		case <-o.exited:
		}
		if !o.strike() {
			break // it was refused: begin sees why
		}
		o.starts++
	}
	o.begin()
}

// begin starts the server and waits until it serves.
func (o *ordeal) begin() {
	o.t.Helper()
	for {
		begun, said := time.Now(), len(o.log.String())
		o.launchAgain()
		o.await("the server to answer, or to end", func() bool { return o.ended() || o.healthy() })
		if !o.ended() {
			o.ready = time.Since(begun)
			return
		}
		o.removeEmpty(o.log.String()[said:])
	}
}

func (o *ordeal) launchAgain() {
	o.t.Helper()
	o.exited = make(chan struct{})
	o.run(killConfig)
}

func (o *ordeal) ended() bool {
	select {
	case <-o.exited:
		return true
	default:
		return false
	}
}

// emptyFile is the reason for which a start may be refused after a kill.
var emptyFile = regexp.MustCompile(`its file \\?"([0-9]+\.(?:mem|vlog))\\?" is empty: a crash has left it so`)

// removeEmpty does what docs/operate.md has an operator do where the server was
// killed in the moment in which it made a file, and now refuses to start.
func (o *ordeal) removeEmpty(said string) {
	o.t.Helper()
	refusal := emptyFile.FindStringSubmatch(said)
	if refusal == nil {
		o.t.Fatalf("caddy ended by itself, with %v:\n%s", o.process.ProcessState, o.log.troubles())
	}
	must(o.t, os.Remove(filepath.Join(o.Store, refusal[1])))
	o.emptied++
}
