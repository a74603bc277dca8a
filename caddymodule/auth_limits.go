package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/agiled/caddy-api-keys/internal/authn"
	"github.com/agiled/caddy-api-keys/internal/ratelimit"
)

// RateLimits limit how often a key may be used, and all keys of a workspace together. Each
// key has separate counts for reads, for writes and for each limit: handlers with the same
// limit share a count, handlers with different limits do not. The limits are exact: no more
// requests pass in any window of the given length, wherever it begins, and none within the
// limits is refused. A request that is refused, by whichever limit, counts in none. Counts
// survive a reload. Each process counts for itself.
type RateLimits struct {
	// The limit for requests that read.
	Read *RateLimit `json:"read,omitempty"`

	// The limit for requests that write.
	Write *RateLimit `json:"write,omitempty"`

	// The limit for all requests of all keys of a workspace together, so that a customer
	// cannot get around the other limits by making more keys.
	Workspace *RateLimit `json:"workspace,omitempty"`
}

// RateLimit is a number of requests per window.
type RateLimit struct {
	// How many requests may pass in a window.
	Requests int `json:"requests,omitempty"`

	// The length of the window, in whole seconds.
	Window caddy.Duration `json:"window,omitempty"`

	// Whether the limit is for all gateways of a fleet together (`store etcd`). Then each
	// allows an equal part of it, rounded down, but at least one request: with three
	// gateways and 60 requests, 20 each. Use it where the load balancer spreads the
	// requests of one key evenly. While a gateway starts or stops, a key's count may start
	// over. With a store of its own, a gateway allows the whole limit.
	PerFleet bool `json:"per_fleet,omitempty"`
}

func (l *RateLimit) limit() (limit authn.Limit) {
	if l == nil {
		return limit
	}
	limit.N, limit.Window, limit.PerFleet = l.Requests, time.Duration(l.Window), l.PerFleet
	return limit
}

func (l *RateLimit) validate() error {
	if l == nil {
		return nil
	}
	if l.Requests < 1 || l.Requests > 1_000_000 {
		return errors.New("a limit is 1 to 1000000 requests")
	}
	return validateWindow(l.Window)
}

func validateWindow(window caddy.Duration) error {
	if w := time.Duration(window); w < time.Second || w > 24*time.Hour || w%time.Second != 0 {
		return fmt.Errorf("a window is 1s to 24h, in whole seconds, not %s", w)
	}
	return nil
}

// MaxChanges is a number of changes per window.
type MaxChanges struct {
	// How many changes may be requested in a window.
	Changes int `json:"changes,omitempty"`

	// The length of the window, in whole seconds.
	Window caddy.Duration `json:"window,omitempty"`
}

func (m *MaxChanges) validate() error {
	if m == nil {
		return nil
	}
	if m.Changes < 1 || m.Changes > 1_000_000 {
		return errors.New("a limit is 1 to 1000000 changes")
	}
	return validateWindow(m.Window)
}

// changes counts the changes that workspaces request. It belongs to the process, so
// that counts survive a reload.
var changes = ratelimit.New()

// countChange counts a change requested by a workspace, and returns how long the
// workspace has to wait; zero if it does not.
func (a *App) countChange(workspaceID string) time.Duration {
	limit := ratelimit.Limit{N: a.MaxChanges.Changes, Window: time.Duration(a.MaxChanges.Window)}
	return changes.Allow(ratelimit.Count{Subject: workspaceID, Limit: limit}, time.Now()).RetryAfter
}

// The fields of draft-ietf-httpapi-ratelimit-headers, as net/http spells them.
const (
	policyHeader = "Ratelimit-Policy"
	limitHeader  = "Ratelimit"
)

// setRateLimitHeaders tells a client how much of its limits is left. The values go into an
// array that belongs to this request, because Caddy edits header values in place: the given
// one, or a new one. It is written to allocate little: if there is a limit, every response
// has these headers.
func (h *Auth) setRateLimitHeaders(header http.Header, d *authn.Decision, values *[2]string) {
	if d.KeyQuota.Limit.N == 0 && d.WorkspaceQuota.Limit.N == 0 {
		return
	}
	if values == nil {
		values = new([2]string)
	}
	room := make([]byte, 0, 64)
	room = appendLeft(room, string(d.Action), &d.KeyQuota)
	room = appendLeft(room, "workspace", &d.WorkspaceQuota)
	*values = [2]string{h.limits.of(d), string(room)}
	if len(header[limitHeader]) > 0 { // set by an earlier block, whose limits apply too
		header[policyHeader] = append(header[policyHeader], values[0])
		header[limitHeader] = append(header[limitHeader], values[1])
		return
	}
	header[policyHeader] = values[0:1:1]
	header[limitHeader] = values[1:2:2]
}

// limitTexts has the latest policies as text. A handler has the same for all requests of
// an action, until the number of a fleet's gateways changes.
type limitTexts [2]atomic.Pointer[limitText]

type limitText struct {
	key, workspace ratelimit.Limit
	text           string
}

// of returns the limits of a request as text.
func (l *limitTexts) of(d *authn.Decision) string {
	latest := &l[0]
	if d.Action == authn.Write {
		latest = &l[1]
	}
	if t := latest.Load(); t != nil && t.key == d.KeyQuota.Limit && t.workspace == d.WorkspaceQuota.Limit {
		return t.text
	}
	text := appendLimit(nil, string(d.Action), &d.KeyQuota)
	text = appendLimit(text, "workspace", &d.WorkspaceQuota)
	latest.Store(&limitText{d.KeyQuota.Limit, d.WorkspaceQuota.Limit, string(text)})
	return string(text)
}

// appendLimit appends a limit to a list, unless there is none.
func appendLimit(list []byte, name string, q *authn.Quota) []byte {
	if q.Limit.N == 0 {
		return list
	}
	return appendItem(list, name, 'q', q.Limit.N, 'w', seconds(q.Limit.Window))
}

// appendLeft appends to a list what is left of a limit, unless there is none.
func appendLeft(list []byte, name string, q *authn.Quota) []byte {
	if q.Limit.N == 0 {
		return list
	}
	return appendItem(list, name, 'r', q.Usage.Remaining, 't', seconds(q.Usage.Reset))
}

// appendItem appends an item with two parameters to a list (RFC 9651).
func appendItem(list []byte, item string, first byte, n int, second byte, m int) []byte {
	if len(list) > 0 {
		list = append(list, ", "...)
	}
	list = append(list, '"')
	list = append(append(list, item...), '"', ';', first, '=')
	list = append(strconv.AppendInt(list, int64(n), 10), ';', second, '=')
	return strconv.AppendInt(list, int64(m), 10)
}

// seconds returns a duration in whole seconds, rounded up, so that waiting for that
// long is enough.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }
