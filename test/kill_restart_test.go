package test

import (
	"strings"
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

// begin starts the server and waits until it serves. A kill damages no file: what
// the store does about damage would hide that something was lost.
func (o *ordeal) begin() {
	o.t.Helper()
	begun, said := time.Now(), len(o.log.String())
	o.launchAgain()
	o.await("the server to answer, or to end", func() bool { return o.ended() || o.healthy() })
	if o.ended() {
		o.t.Fatalf("caddy ended by itself, with %v:\n%s", o.process.ProcessState, o.log.troubles())
	}
	if strings.Contains(o.log.String()[said:], "are damaged") {
		o.t.Errorf("after a kill, files are taken for damaged:\n%s", o.log.troubles())
	}
	o.ready = time.Since(begun)
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
