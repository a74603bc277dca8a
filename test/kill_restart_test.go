package test

import (
	"strings"
	"time"
)

// restart starts the server once more. Now and then it is killed while it does,
// and again.
func (o *crashTest) restart() {
	o.T.Helper()
	for o.chance.IntN(4) == 0 {
		o.launchAgain()
		select {
		case <-time.After(o.within(o.ready)):
		case <-o.Exited:
		}
		if !o.killProcess() {
			break // it was refused: begin sees why
		}
		o.starts++
	}
	o.begin()
}

// begin starts the server and waits until it serves. A kill damages no file: what
// the store does about damage would hide that something was lost.
func (o *crashTest) begin() {
	o.T.Helper()
	begun, said := time.Now(), len(o.Log.String())
	o.launchAgain()
	o.Await("the server to answer, or to end", func() bool { return o.ended() || o.Healthy() })
	if o.ended() {
		o.T.Fatalf("caddy ended by itself, with %v:\n%s", o.Cmd.ProcessState, o.Log.Troubles())
	}
	if strings.Contains(o.Log.String()[said:], "are damaged") {
		o.T.Errorf("after a kill, files are taken for damaged:\n%s", o.Log.Troubles())
	}
	o.ready = time.Since(begun)
}

func (o *crashTest) launchAgain() {
	o.T.Helper()
	o.Exited = make(chan struct{})
	o.Run(killConfig)
}

func (o *crashTest) ended() bool {
	select {
	case <-o.Exited:
		return true
	default:
		return false
	}
}
