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
	// shareAtOnce is how many of its answers are made or sent at a time, which bounds
	// the memory that they take.
	shareAtOnce = 4
	// shareRate is how many bytes of them are sent per second in the long run, and
	// shareBurst how many at once: a calendar of a thousand keys is not held up.
	shareRate  = 16 << 20
	shareBurst = 32 << 20
	sharePiece = 64 << 10
	// sharesRemembered is the number of workspaces of which it is known what they
	// have had.
	sharesRemembered = 1024
)

// shares are the shares of all workspaces.
type shares struct{ of *otter.Cache[string, *share] }

// share is what bounds the long answers of one workspace.
type share struct {
	turns *semaphore.Weighted
	bytes *rate.Limiter
}

func newShares() *shares {
	return &shares{otter.Must(&otter.Options[string, *share]{MaximumSize: sharesRemembered})}
}

// enter waits until an answer of a workspace may be made. leave is to be called once
// it has been sent.
func (s *shares) enter(ctx context.Context, ws string) (*share, error) {
	own, _ := s.of.ComputeIfAbsent(ws, func() (*share, bool) {
		return &share{semaphore.NewWeighted(shareAtOnce), rate.NewLimiter(shareRate, shareBurst)}, false
	})
	return own, own.turns.Acquire(ctx, 1)
}

func (s *share) leave() { s.turns.Release(1) }

// content returns what is sent of an answer in the name of a workspace. A client that
// does not take it in time makes room for the others.
func (s *share) content(w http.ResponseWriter, r *http.Request, from io.ReadSeeker) io.ReadSeeker {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(sendTimeout))
	return sharedContent{from, s, r.Context()}
}

// sharedContent is read as fast as its share allows.
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
