package admin

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"
)

// A workspace can have a calendar of many megabytes, and anyone who has the address
// of its feed can request it as often as they like. Each workspace has a fixed share
// of the server's resources for that, and requests beyond it wait, without delaying
// other workspaces.
const (
	// shareAtOnce is how many of its responses are made or sent at a time, which
	// bounds the memory that they take.
	shareAtOnce = 4
	// shareRate is how many bytes of them are sent per second in the long run, and
	// shareBurst how many in a burst: a calendar of a thousand keys is not held up.
	shareRate  = 16 << 20
	shareBurst = 32 << 20
	sharePiece = 64 << 10
	// sharesRemembered is how many workspaces' recent use is tracked.
	sharesRemembered = 1024
)

// shares are the shares of all workspaces.
type shares struct{ of *otter.Cache[string, *share] }

// share limits the long responses of one workspace.
type share struct {
	turns *semaphore.Weighted
	bytes *rate.Limiter
}

func newShares() *shares {
	return &shares{otter.Must(&otter.Options[string, *share]{MaximumSize: sharesRemembered})}
}

// enter waits until a response for a workspace may be made. The caller calls leave
// once it has been sent.
func (s *shares) enter(ctx context.Context, ws string) (*share, error) {
	own, _ := s.of.ComputeIfAbsent(ws, func() (*share, bool) {
		return &share{semaphore.NewWeighted(shareAtOnce), rate.NewLimiter(shareRate, shareBurst)}, false
	})
	return own, own.turns.Acquire(ctx, 1)
}

func (s *share) leave() { s.turns.Release(1) }

// content returns a response's content, limited to a workspace's share. A client
// that does not read it in time is cut off, to make room for others.
func (s *share) content(w http.ResponseWriter, r *http.Request, from io.ReadSeeker) io.ReadSeeker {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout))
	return sharedContent{from, s, r.Context()}
}

// sharedContent can be read only as fast as its share allows.
type sharedContent struct {
	io.ReadSeeker
	share *share
	ctx   context.Context
}

func (c sharedContent) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p[:min(len(p), sharePiece)])
	if waitErr := c.share.bytes.WaitN(c.ctx, n); waitErr != nil {
		return 0, waitErr
	}
	return n, err
}
