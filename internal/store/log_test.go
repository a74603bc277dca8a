package store

import (
	"context"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// impatientLog lets a caller go as soon as its context is done, and continues with the
// change, as a fleet does.
type impatientLog struct {
	Log
	begun chan struct{} // closed when a change is
	goOn  chan struct{} // closed when it may be committed
	over  chan struct{} // closed when it is
}

func (l impatientLog) Commit(ctx context.Context, change apikey.Change, urgent bool, applied func(apikey.Planned) error) (apikey.Outcome, error) {
	var outcome apikey.Outcome
	var err error
	go func() {
		defer close(l.over)
		close(l.begun)
		<-l.goOn
		outcome, err = l.Log.Commit(context.WithoutCancel(ctx), change, urgent, applied)
	}()
	select {
	case <-l.over:
		return outcome, err
	case <-ctx.Done():
		return apikey.Outcome{}, apikey.ErrFleetInDoubt
	}
}

// Work shares variables with its caller. A caller that stops waiting continues only once
// nothing is being done.
func TestWork_callerStopsWaiting(t *testing.T) {
	s := openFleet(t, 1).replicas[0]
	mustCreate(t, s, "acme", "Zapier", start)
	l := impatientLog{s.changes, make(chan struct{}), make(chan struct{}), make(chan struct{})}
	s.Follow(l)
	ctx, stop := context.WithCancel(t.Context())
	returned := make(chan error, 1)
	go func() {
		_, err := s.ForgetEvents(ctx, start.Add(day), start.Add(day))
		returned <- err
	}()
	<-l.begun
	stop()
	select {
	case <-returned:
		t.Error("the caller continued before its work was done, want it to wait")
		close(l.goOn)
	case <-time.After(50 * time.Millisecond):
		close(l.goOn)
		if err := <-returned; err == nil {
			t.Error("got no error, want one saying that the caller stopped waiting")
		}
	}
	<-l.over
}
