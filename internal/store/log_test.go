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

// heldLog commits no change before goOn is closed.
type heldLog struct {
	Log
	begun chan struct{} // has an element once a change has come
	goOn  chan struct{}
}

func (l heldLog) Commit(ctx context.Context, change apikey.Change, urgent bool, applied func(apikey.Planned) error) (apikey.Outcome, error) {
	select {
	case l.begun <- struct{}{}:
	default:
	}
	<-l.goOn
	return l.Log.Commit(ctx, change, urgent, applied)
}

// A fleet that stops, or gets another configuration, waits until uses have been noted, and takes no
// change meanwhile. So nothing that notes uses waits for a restore, which waits for changes.
func TestNoteUses_whileRestoring(t *testing.T) {
	from := openNew(t)
	key := mustCreate(t, from, "acme", "Zapier", start)
	if err := from.NoteUses(map[string]apikey.Use{key.ID: {At: start.Add(time.Minute)}}); err != nil {
		t.Fatal(err)
	}
	backup := mustBackup(t, from, start.Add(time.Hour))

	s := openFleet(t, 1).replicas[0]
	used := mustCreate(t, s, "globex", "Zapier", start)
	l := heldLog{s.changes, make(chan struct{}, 1), make(chan struct{})}
	s.Follow(l)
	restored := make(chan error, 1)
	go func() {
		_, err := restoreAt(t, s, backup, start.Add(2*time.Hour), apikey.Restore{})
		restored <- err
	}()
	<-l.begun
	noted := make(chan error, 2)
	go func() { noted <- s.NoteUses(map[string]apikey.Use{used.ID: {At: start.Add(time.Hour)}}) }()
	go func() {
		_, err := s.MergeUses(map[string]apikey.SharedUse{used.ID: {First: start, Last: start}})
		noted <- err
	}()
	for range cap(noted) {
		select {
		case err := <-noted:
			if err != nil {
				t.Errorf("noting uses: got error %v, want none", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("noting uses waits for the restore, which waits for the log")
		}
	}
	close(l.goOn)
	if err := <-restored; err != nil {
		t.Fatalf("Restore: got error %v, want none", err)
	}
	equal(t, "the last use that was restored", lastUse(t, s, key), start.Add(time.Minute))
}
