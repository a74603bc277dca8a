package admin

import (
	"bytes"
	"context"
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/testenv/bubble"
)

// Few responses for a workspace are made at a time. Other workspaces do not wait
// for them.
func TestShares_turns(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		all := newShares()
		var first *share
		for range shareAtOnce {
			own, err := all.enter(t.Context(), "acme")
			if err != nil {
				t.Fatal(err)
			}
			first = own
		}
		if _, err := all.enter(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := all.enter(ctx, "acme"); err == nil {
			t.Fatalf("got a turn for answer %d, want a wait", shareAtOnce+1)
		}
		entered := make(chan error)
		go func() { _, err := all.enter(t.Context(), "acme"); entered <- err }()
		bubble.Wait()
		select {
		case err := <-entered:
			t.Fatalf("got a turn (%v) before another was over", err)
		default:
		}
		first.leave()
		if err := <-entered; err != nil {
			t.Fatal(err)
		}
	})
}

// However often they are requested, a workspace's responses are sent at a bounded
// rate, and complete.
func TestShares_rate(t *testing.T) {
	const size, answers = 8 << 20, 20
	bubble.Test(t, func(t *testing.T) {
		own, err := newShares().enter(t.Context(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("BEGIN:VEVENT\r\n"), size/14)
		begin := time.Now()
		for range answers {
			content := own.content(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(t.Context()), bytes.NewReader(want))
			got, err := io.ReadAll(content)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("got %d bytes and error %v, want all %d", len(got), err, len(want))
			}
		}
		took, about := time.Since(begin), time.Duration(answers*len(want)-shareBurst)*time.Second/shareRate
		if took < about-time.Second || took > about+time.Second {
			t.Errorf("sending took %v, want about %v", took, about)
		}
	})
}
