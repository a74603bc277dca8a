package admin

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// silentClient is a connection whose client reads nothing, until it hangs up.
type silentClient struct {
	http.ResponseWriter
	gone chan struct{}
}

func (c silentClient) Write([]byte) (int, error) {
	<-c.gone
	return 0, errors.New("the client has gone")
}

func (silentClient) Flush() {}

// However much a client leaves unread, no more than the limit is kept for it, with what is
// being sent; and nothing of it once the client has gone.
func TestBacklog_unread(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		w := silentClient{gone: make(chan struct{})}
		stopped := false
		b := newBacklog(w, http.NewResponseController(w), func() { stopped = true })
		added := 0
		go func() {
			for range 3 * maxBacklog / sentAtOnce {
				b.add(make([]byte, sentAtOnce))
				added++
			}
		}()
		bubble.Wait()
		if got, want := added*sentAtOnce, maxBacklog+sentAtOnce; got != want {
			t.Errorf("got %d bytes kept for a client that reads nothing, want %d", got, want)
		}
		close(w.gone)
		bubble.Wait()
		if err := b.close(); err == nil || !stopped {
			t.Errorf("got error %v and stopped=%t, want the import to be given up", err, stopped)
		}
		if len(b.waiting) > 0 {
			t.Errorf("got %d answers kept for a client that has gone, want none", len(b.waiting))
		}
	})
}

// One more import than are read at a time waits until another has ended, or its client has
// gone.
func TestImport_atOnce(t *testing.T) {
	var leave []func()
	for range importsAtOnce {
		one, err := enterImport(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, one)
	}
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	if _, err := enterImport(gone); err == nil {
		t.Error("got one more import read at a time, want it to wait")
	}
	for _, one := range leave {
		one()
	}
	one, err := enterImport(t.Context())
	if err != nil {
		t.Fatalf("after the others: got error %v, want none", err)
	}
	one()
}
