// Package admin is the API that creates, shows and revokes keys: one
// [http.Handler] on plain net/http, for both places where it is mounted.
//
// It guarantees that a change is durable and in effect before it is answered;
// that a token appears in one response, once; that every refusal has the same
// shape, with a message and a stable code; and that no response may be cached.
// Apart from refusing cross-origin requests from browsers, it does not decide who
// may call it: that is up to the mount.
package admin

import (
	"context"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/doctor"
)

// Keys is the key store, as this package needs it. Its errors are
// [*apikey.Error], or mean that the store cannot answer.
type Keys interface {
	// Apply makes one change, which is durable and in effect when Apply returns.
	Apply(ctx context.Context, change apikey.Change) (apikey.Outcome, error)
	// ApplyAll makes several changes that only add keys, in one transaction where that is
	// possible. One that is refused does not affect the others.
	ApplyAll(ctx context.Context, changes []apikey.Change) ([]apikey.Planned, error)
	// TryImport returns what the import of a key would do, and changes nothing.
	TryImport(ctx context.Context, key apikey.Key, now time.Time) (apikey.Outcome, error)
	// Lookup returns the key whose token has a digest.
	Lookup(digest apikey.Digest) (*apikey.Key, error)
	// Prefixes returns the prefixes of all tokens that were created here.
	Prefixes() *apikey.Prefixes
	Key(ctx context.Context, workspaceID, keyID string) (*apikey.Key, error)
	Keys(ctx context.Context, workspaceID string, filter apikey.KeyFilter, page apikey.Page, now time.Time) (keys []*apikey.Key, next string, err error)
	// Usage returns how often keys of a workspace were used on the days from one to another,
	// by id and oldest first. Keys that the workspace does not have are left out.
	Usage(ctx context.Context, workspaceID string, keyIDs []string, from, to apikey.Day) (map[string][]apikey.DayUsage, error)
	// FindKey returns a key of any workspace.
	FindKey(ctx context.Context, keyID string) (*apikey.Key, error)
	// FindKeys returns a page of the keys of all workspaces; it ends at an
	// [apikey.Place].
	FindKeys(ctx context.Context, filter apikey.KeyFilter, page apikey.Page, now time.Time) (keys []*apikey.Key, next string, err error)
	// EachActive calls visit for every active key of a workspace, in the order in
	// which they end.
	EachActive(ctx context.Context, workspaceID string, now time.Time, visit func(*apikey.Key) error) error
	// Version returns a number that changes whenever the keys of a workspace change.
	Version(workspaceID string) uint64
	Events(ctx context.Context, workspaceID string, page apikey.Page) (events []apikey.Event, next string, err error)
	Workspace(ctx context.Context, workspaceID string) (apikey.Workspace, error)
	// Workspaces returns a page of the workspaces that have keys or are suspended, and
	// whose ids contain a text.
	Workspaces(ctx context.Context, query string, page apikey.Page) (found []apikey.Workspace, next string, err error)
	// Suspensions returns a page of suspended workspaces.
	Suspensions(ctx context.Context, page apikey.Page) (suspended []apikey.Workspace, next string, err error)
	CountKeys(ctx context.Context, workspaceID string, now time.Time) (map[apikey.Status]int, error)
	// Feed returns the workspace whose calendar feed's token has a digest.
	Feed(ctx context.Context, digest apikey.Digest) (workspaceID string, err error)
	// Backup returns a consistent snapshot of the whole store.
	Backup(ctx context.Context, now time.Time) (io.ReadSeekCloser, error)
	// Restore adds the contents of a backup, as do specifies, on behalf of the
	// change's actor. The bytes restored so far are also written to progress.
	Restore(ctx context.Context, from io.Reader, change apikey.Change, do apikey.Restore, progress io.Writer) (apikey.Restored, error)
	// Check reads the whole store and returns its findings.
	Check(ctx context.Context, now time.Time) ([]doctor.Finding, error)
	Ping() error
	// Filled reports whether the store may have all keys: a gateway's copy of those of its
	// fleet has none at first.
	Filled() (bool, error)
	// Unchangeable returns why no change can be made now, or "".
	Unchangeable() string
}

// Rules are the operator's limits on keys.
type Rules struct {
	// TokenPrefix is the prefix of new tokens.
	TokenPrefix string
	// Life is the default and maximum lifetime of a new key.
	Life time.Duration
	// AllowVagueNames permits names that do not say what uses the key, such as "test".
	AllowVagueNames bool
	// MaxActiveKeys is the maximum number of active keys per workspace. A key counts
	// as one together with those that it has replaced.
	MaxActiveKeys int
}

// Config configures a handler.
type Config struct {
	// Keys returns the key store, or nil while none is open.
	Keys func() Keys
	// Fleet returns the fleet that the gateway belongs to, or nil if it has a store of its
	// own. Default: nil.
	Fleet func() Fleet
	// Webhooks returns the webhooks of the configuration, or nil while no key store is open.
	// Default: nil.
	Webhooks func() Webhooks
	// Rules apply to new keys and new names. An idle handler needs none.
	Rules Rules
	// Clock reads the time.
	Clock func() apikey.ClockReading
	// Log is for failures. It should be sampled: a failing store logs every call.
	Log *zap.Logger
	// Refusals is where refused changes are logged. The handler samples them itself.
	// Default: Log.
	Refusals *zap.Logger
	// Actor returns who makes a request, for the audit trail.
	Actor func(*http.Request) string
	// RemoteIP returns the address that a request comes from, for the audit trail.
	RemoteIP func(*http.Request) string
	// Workspace returns the workspace that the mount is pinned to, or "", which
	// refuses the request. It is nil if the mount serves all workspaces.
	Workspace func(*http.Request) string
	// CountChange counts a change requested at a pinned mount, and returns how long
	// the workspace has to wait before it can make one; zero if it does not. Nil
	// means no limit.
	CountChange func(workspaceID string) time.Duration
	// TestURL is where a new key can be tried: an address, or a path on the site of
	// the mount. Default: none.
	TestURL string
	// Idle means that the configuration does not use API keys. Keys must return nil
	// then, and responses with status 503 say so instead of asking the caller to try
	// again.
	Idle bool
	// Observe is called with the outcome of every call: [OK], or the error's code.
	Observe func(operation, outcome string)
}

// Handler answers the calls of the API. Paths are relative to its mount.
type Handler struct {
	Config
	mux   *http.ServeMux
	calls map[string]map[string]call // by the mux's pattern, and by method
	// sameOrigin refuses cross-origin requests from browsers.
	sameOrigin *http.CrossOriginProtection
	calendars  calendars
	shares     *shares
	refusals   *sampler
}

// New returns a handler of the API. The fields of config are required unless they
// have a default or may be nil.
func New(config Config) *Handler {
	if config.Refusals == nil {
		config.Refusals = config.Log
	}
	h := &Handler{Config: config, mux: http.NewServeMux(), sameOrigin: http.NewCrossOriginProtection(), refusals: newSampler(), shares: newShares()}
	h.calls = resources()
	for pattern, calls := range h.calls {
		h.mux.Handle(pattern, h.resource(calls))
	}
	h.mux.Handle("/", h.resource(nil))
	return h
}

// IsOpen reports whether a request is for a call that needs no credentials of
// the mount's, because the secret is in its path.
func (h *Handler) IsOpen(r *http.Request) bool { return h.callOf(r).open }

// callOf returns the call that a request is for, the zero call if it is for
// none.
func (h *Handler) callOf(r *http.Request) call {
	_, pattern := h.mux.Handler(r)
	return h.calls[pattern][methodOf(r)]
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h.sameOrigin.Check(r); err != nil {
		h.refuse(w, r, h.callOf(r).operation, errCrossOrigin)
		return
	}
	if !cleanPath(r.URL.EscapedPath()) {
		// ServeMux would answer with a redirect to what it takes the path for.
		h.refuse(w, r, "", errNoSuchCall)
		return
	}
	h.mux.ServeHTTP(w, r)
}
