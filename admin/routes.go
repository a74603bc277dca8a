package admin

import (
	"cmp"
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// call is one call of the API: its name in metrics, and a function that returns a
// status and a response, to be encoded as JSON unless it is a document, or an
// error.
type call struct {
	operation string
	do        func(*Handler, *http.Request) (status int, answer any, err error)
	// everywhere means that pinned mounts serve the call too.
	everywhere bool
	// open means that the call does not need the mount's credentials.
	open bool
	// long means that the body has no time limit as long as it makes progress.
	long bool
	// expensive means that the call is refused to pages from other origins, although
	// it changes nothing, because of what it costs.
	expensive bool
	// keyless means that the call shows nothing of the keys, although it reads: it is
	// answered without all of them. Calls that change something fail by themselves then.
	keyless bool
	// endsAccess means that the limit of changes does not apply to the call.
	endsAccess bool
}

// resources is the route table: for each path, the call of each method.
func resources() map[string]map[string]call {
	return map[string]map[string]call{
		"/healthz": {
			http.MethodGet: {operation: "healthz", do: (*Handler).healthz, everywhere: true, keyless: true},
		},
		"/openapi.json": {
			http.MethodGet: {operation: "openapi", do: (*Handler).openapi, everywhere: true, keyless: true},
		},
		"/mount": { // the response says which workspace it is pinned to
			http.MethodGet: {operation: "mount", do: (*Handler).showMount, everywhere: true, keyless: true},
		},
		"/workspaces": {
			http.MethodGet: {operation: "workspaces", do: (*Handler).listWorkspaces},
		},
		"/keys": {
			http.MethodGet: {operation: "find", do: (*Handler).findKeys},
		},
		"/keys/{id}": {
			http.MethodGet: {operation: "find_key", do: (*Handler).findKey},
		},
		"/workspaces/{ws}/keys": {
			http.MethodGet:  {operation: "list", do: (*Handler).listKeys},
			http.MethodPost: {operation: "create", do: (*Handler).createKey},
		},
		"/workspaces/{ws}/keys/{id}": {
			http.MethodGet:   {operation: "show", do: (*Handler).showKey},
			http.MethodPatch: {operation: "update", do: (*Handler).updateKey},
		},
		"/workspaces/{ws}/keys/{id}/uses": {
			http.MethodGet: {operation: "uses", do: (*Handler).showUses},
		},
		"/workspaces/{ws}/keys/{id}/usage": {
			http.MethodGet: {operation: "usage", do: (*Handler).showUsage},
		},
		"/workspaces/{ws}/keys/{id}/rotate": {
			http.MethodPost: {operation: "rotate", do: (*Handler).rotateKey},
		},
		"/workspaces/{ws}/keys/{id}/revoke": {
			http.MethodPost: {operation: "revoke", do: (*Handler).revokeKey, endsAccess: true},
		},
		"/workspaces/{ws}": {
			http.MethodGet: {operation: "workspace", do: (*Handler).showWorkspace},
		},
		"/workspaces/{ws}/usage": {
			http.MethodGet: {operation: "usage", do: (*Handler).listUsage},
		},
		"/workspaces/{ws}/suspend": {
			http.MethodPost: {operation: "suspend", do: (*Handler).suspendWorkspace},
		},
		"/workspaces/{ws}/resume": {
			http.MethodPost: {operation: "resume", do: (*Handler).resumeWorkspace},
		},
		"/suspensions": {
			http.MethodGet: {operation: "suspensions", do: (*Handler).listSuspensions},
		},
		"/workspaces/{ws}/revoke-all": {
			http.MethodPost: {operation: "revoke_all", do: (*Handler).revokeAll, endsAccess: true},
		},
		"/workspaces/{ws}/calendar.ics": {
			http.MethodGet: {operation: "calendar", do: (*Handler).showCalendar},
		},
		"/workspaces/{ws}/calendar/feed": {
			http.MethodPost:   {operation: "calendar_feed", do: (*Handler).createFeed},
			http.MethodDelete: {operation: "calendar_feed_revoke", do: (*Handler).revokeFeed},
		},
		"/calendar/{feed}": { // the token and .ics; the call looks up the workspace
			http.MethodGet: {operation: "calendar", do: (*Handler).showFeed, everywhere: true, open: true},
		},
		"/tokens/lookup": {
			http.MethodPost: {operation: "lookup", do: (*Handler).lookUpToken},
		},
		"/tokens/revoke": {
			http.MethodPost: {operation: "revoke", do: (*Handler).revokeToken},
		},
		"/workspaces/{ws}/audit": {
			http.MethodGet: {operation: "audit", do: (*Handler).listWorkspaceEvents},
		},
		"/audit": {
			http.MethodGet: {operation: "audit", do: (*Handler).listEvents},
		},
		"/clock": {
			http.MethodGet: {operation: "clock", do: (*Handler).showClock, keyless: true},
		},
		"/clock/trust": {
			http.MethodPost: {operation: "clock_trust", do: (*Handler).trustClock},
		},
		"/fleet": {
			http.MethodGet: {operation: "fleet", do: (*Handler).showFleet, keyless: true},
		},
		"/fleet/reconcile": {
			http.MethodPost: {operation: "fleet_reconcile", do: (*Handler).reconcileFleet},
		},
		"/fleet/rekey": {
			http.MethodPost: {operation: "fleet_rekey", do: (*Handler).rekeyFleet},
		},
		"/webhooks/test": {
			http.MethodPost: {operation: "webhook_test", do: (*Handler).testWebhooks},
		},
		"/backup": {
			http.MethodGet: {operation: "backup", do: (*Handler).takeBackup, expensive: true},
		},
		"/restore": {
			http.MethodPost: {operation: "restore", do: (*Handler).restoreBackup, long: true},
		},
		"/import": {
			http.MethodPost: {operation: "import", do: (*Handler).importKeys, long: true},
		},
		"/doctor": {
			http.MethodGet: {operation: "doctor", do: (*Handler).checkStore, expensive: true, keyless: true},
		},
	}
}

// OK is the outcome of a call that was not refused.
const OK = "ok"

// Operations returns the names of all calls, as passed to [Config.Observe].
func Operations() []string {
	names := make(map[string]bool)
	for _, calls := range resources() {
		for _, call := range calls {
			names[call.operation] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// resource serves one path; without calls, one that does not exist.
func (h *Handler) resource(calls map[string]call) http.Handler {
	allow := allowed(calls)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(calls) == 0 {
			h.refuse(w, r, "", errNoSuchCall)
			return
		}
		call, ok := calls[methodOf(r)]
		if !ok {
			h.MethodNotAllowed(w, r, allow)
			return
		}
		if call.expensive && fromElsewhere(r) {
			h.refuse(w, r, call.operation, errCrossOrigin)
			return
		}
		if h.Workspace != nil && !call.everywhere && !h.pinnedTo(r) {
			h.refuse(w, r, call.operation, errWrongWorkspace)
			return
		}
		if wait := h.untilChange(r); wait > 0 {
			if !call.endsAccess {
				w.Header().Set("Retry-After", strconv.Itoa(wholeSeconds(wait)))
				h.refuse(w, r, call.operation, errTooManyChanges)
				return
			}
			r = unrecorded(r)
		}
		if call.operation != "import" && methodOf(r) != http.MethodGet && asksDryRun(r.URL.RawQuery) {
			h.refuse(w, r, call.operation, errNoDryRun)
			return
		}
		if methodOf(r) == http.MethodGet && !call.keyless {
			if filled, err := h.keys().Filled(); err != nil || !filled {
				h.refuse(w, r, call.operation, cmp.Or(err, error(apikey.ErrFleetPartial)))
				return
			}
		}
		body := r.Body
		if call.long {
			r.Body = extendedBody{body, http.NewResponseController(w)}
		}
		status, answer, err := call.do(h, r)
		if serve, ok := answer.(exchange); ok {
			if outcome := serve(w, r); outcome != "" {
				h.Observe(call.operation, outcome)
			}
			return
		}
		r.Body = body // after a refusal, the rest of it has the usual time limit
		if err != nil {
			h.refuse(w, r, call.operation, err)
			return
		}
		h.Observe(call.operation, OK)
		if sent, ok := answer.(file); ok {
			h.send(w, r, sent)
			return
		}
		if sent, ok := answer.(document); ok && sent.tag != "" {
			h.answerTagged(w, r, sent)
			return
		}
		h.answer(w, status, answer)
	})
}

// methodOf returns the method of the call that serves a request: GET serves HEAD
// too.
func methodOf(r *http.Request) string {
	if r.Method == http.MethodHead {
		return http.MethodGet
	}
	return r.Method
}

// fromElsewhere reports whether a browser sent a request for a page of another
// origin. Unlike [http.CrossOriginProtection], it does not exempt GET.
func fromElsewhere(r *http.Request) bool {
	return slices.ContainsFunc(r.Header.Values("Sec-Fetch-Site"), func(site string) bool {
		return site != "same-origin" && site != "none"
	})
}

// pinnedTo reports whether a request is about the workspace that the mount
// serves.
func (h *Handler) pinnedTo(r *http.Request) bool {
	ws := h.Workspace(r)
	return ws != "" && ws == r.PathValue("ws")
}

// allowed lists the methods of a resource for the Allow header.
func allowed(calls map[string]call) string {
	methods := slices.Sorted(maps.Keys(calls))
	if _, ok := calls[http.MethodGet]; ok {
		methods = append(methods, http.MethodHead)
	}
	return strings.Join(methods, ", ")
}

// cleanPath reports whether a path has no empty segment, and none that means
// another directory.
func cleanPath(escaped string) bool {
	return escaped == path.Clean(escaped) && strings.HasPrefix(escaped, "/")
}
