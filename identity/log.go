package identity

import (
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// logInterval is how often refused requests are logged, for each reason. Anyone who reaches
// the upstream can cause as many as they like.
const logInterval = 10 * time.Second

// refusals logs refused requests. It is safe for concurrent use.
type refusals struct {
	log *slog.Logger
	now func() time.Time

	mu sync.Mutex
	by map[refusal]*logged // a handful, because nothing of a request is in a reason
}

// logged is what the log has of a reason.
type logged struct {
	last time.Time
	more int // refused since, and not logged
}

// add logs a refused request, or counts it for the next line.
func (l *refusals) add(r *http.Request, status int, why error) {
	if more, due := l.count(why); due {
		l.log.Warn("refused a request that does not prove that it came through the API-key gateway",
			"reason", why, "status", status, "remote", r.RemoteAddr, "more_since_last", more)
	}
}

func (l *refusals) count(why error) (more int, due bool) {
	reason, _ := errors.AsType[refusal](why) // "" without keys
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.by[reason]
	if of != nil && l.now().Sub(of.last) < logInterval {
		of.more++
		return 0, false
	}
	if of == nil {
		of = new(logged)
		l.by[reason] = of
	}
	more, of.more, of.last = of.more, 0, l.now()
	return more, true
}
