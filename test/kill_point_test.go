package test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// killPoint is when the server is killed: some time after a number of requests
// have begun.
type killPoint struct {
	left    atomic.Int64 // requests
	begun   chan struct{}
	wait    time.Duration
	reading bool // the clients make few changes meanwhile
}

// drawKillPoint draws the instant at which a load ends: any one, or one shortly after a
// request has begun, which is when it is being answered. Now and then the load continues
// until uses have been noted, which is done once a second.
func (o *crashTest) drawKillPoint(round int) *killPoint {
	b := &killPoint{begun: make(chan struct{})}
	b.left.Store(1)
	switch {
	case round%12 == 11:
		b.wait, b.reading = 900*time.Millisecond+o.within(300*time.Millisecond), true
	case round%2 == 1:
		b.left.Store(1 + o.chance.Int64N(40))
		b.wait = o.within(3 * time.Millisecond)
	default:
		b.wait = o.within(o.ready / 2) // which is longer where everything takes longer
	}
	return b
}

// within draws a time.
func (o *crashTest) within(d time.Duration) time.Duration {
	return time.Duration(o.chance.Int64N(int64(d)))
}

// watched tells of each request that begins.
type watched struct {
	http.RoundTripper
	crashTest *crashTest
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	if b := w.crashTest.next.Load(); b.left.Add(-1) == 0 {
		close(b.begun)
	}
	return w.RoundTripper.RoundTrip(r)
}

// kill lets the clients ask for whatever they like, until the server is killed.
func (o *crashTest) kill(b *killPoint) {
	o.T.Helper()
	o.next.Store(b)
	o.dying.Store(false)
	var clients sync.WaitGroup
	for _, w := range o.atWork {
		o.acknowledged -= len(w.told) // what the last check has asked for
		clients.Go(func() { o.work(w, b.reading) })
	}
	over := make(chan struct{})
	go func() {
		clients.Wait()
		close(over)
	}()
	select {
	case <-b.begun:
		time.Sleep(b.wait)
	case <-over: // none of them was content
	}
	if !o.killProcess() {
		o.T.Fatalf("caddy ended by itself, with %v:\n%s", o.Cmd.ProcessState, o.Log.Troubles())
	}
	<-over
	for _, w := range o.atWork {
		o.acknowledged += len(w.told)
	}
	o.Upstream.Take()
}

// work has a client ask for one thing after another, until it is not answered.
func (o *crashTest) work(w *tenant, reading bool) {
	for {
		calls := changes
		if w.chance.IntN(3) == 0 || reading && w.chance.IntN(20) > 0 {
			calls = reads
		}
		err := w.choose(calls)(w)
		if err == nil {
			continue
		}
		if answered(err) || !o.dying.Load() {
			o.T.Errorf("%s: %v", w.id, err)
		}
		return
	}
}

// killProcess kills the server, and reports whether it had not ended by itself.
func (o *crashTest) killProcess() bool {
	o.dying.Store(true)
	_ = o.Cmd.Process.Kill()
	<-o.Exited
	status, ok := o.Cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}
