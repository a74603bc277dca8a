package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// RateLimits say how often a key may be used. Each key has counts of its own,
// one for reads and one for writes. They are exact: in any window of the given
// length, wherever it begins, no more pass, and within the limit none is
// refused. They survive a reload, and are kept by each process for itself.
type RateLimits struct {
	// The limit of requests that read.
	Read *RateLimit `json:"read,omitempty"`

	// The limit of requests that write.
	Write *RateLimit `json:"write,omitempty"`
}

// RateLimit is so many requests in any window of a length.
type RateLimit struct {
	// How many requests may pass in a window.
	Requests int `json:"requests,omitempty"`

	// The length of the window: whole seconds.
	Window caddy.Duration `json:"window,omitempty"`
}

func (l *RateLimit) limit() ratelimit.Limit {
	if l == nil {
		return ratelimit.Limit{}
	}
	return ratelimit.Limit{N: l.Requests, Window: time.Duration(l.Window)}
}

func (l *RateLimit) validate() error {
	if l == nil {
		return nil
	}
	if l.Requests < 1 || l.Requests > 1_000_000 {
		return errors.New("a limit is 1 to 1000000 requests")
	}
	if window := time.Duration(l.Window); window < time.Second || window > 24*time.Hour || window%time.Second != 0 {
		return fmt.Errorf("a window is 1s to 24h, in whole seconds, not %s", window)
	}
	return nil
}

// announce tells a client how much of its limit is left, in the fields of
// draft-ietf-httpapi-ratelimit-headers.
func announce(header http.Header, d *authn.Decision) {
	if d.Limit.N == 0 {
		return
	}
	name := strconv.Quote(string(d.Action))
	header.Set("RateLimit-Policy", name+";q="+strconv.Itoa(d.Limit.N)+";w="+strconv.Itoa(seconds(d.Limit.Window)))
	header.Set("RateLimit", name+";r="+strconv.Itoa(d.Usage.Remaining)+";t="+strconv.Itoa(seconds(d.Usage.Reset)))
}

// seconds returns a duration in whole seconds, rounded up: who waits for so
// long has waited long enough.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
