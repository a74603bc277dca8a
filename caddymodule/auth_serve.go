package caddymodule

import (
	"context"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// ServeHTTP takes a request through these steps:
//
//  1. Read the facts that the decision depends on.
//  2. Strip what must not reach an upstream or an error route, for any decision.
//     A request for the public keys needs no more than an answer.
//  3. If an api_key_auth before this one let the request pass, add what that one
//     saw: the request is judged again, by this one's rules.
//  4. Decide.
//  5. Record the decision: metrics, access log, trace, first use in a browser.
//  6. Set the response headers about rate limits and the end of the key.
//  7. Refuse the request here, unless it may pass.
//  8. Identify the key to the handlers that follow, and sign that.
//  9. Answer whoami, or pass the request on for as long as its key may be used.
func (h *Auth) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	next = withoutTrailersOnError(next, r, repl)
	facts, suspect := h.readFacts(r)
	h.strip(r, suspect, facts.WebSocket)
	if h.asksPublicKeys(r) {
		return h.answerPublicKeys(w, r)
	}
	first := firstPassage(r)
	var before *passage // of the block before this one, if any
	if first != nil {
		before = first.last
		before.addTo(&facts)
		before.removeKeyEndHeaders(w.Header())
		if !h.ForwardToken {
			before.removeToken(r.Header)
		}
	}

	shared := h.app.instance(r.Context())
	entered := true
	if !isCounted(r) {
		entered = enterRoom()
		defer leaveRoom()
	}
	decision, took, ok := h.decide(r.Context(), shared, &facts, entered && hasRoomForKeys())
	if !ok {
		h.removeToken(r.Header)
		before.withdraw(r)
		return internalError.write(w, r)
	}
	h.record(r.Context(), &decision, took)
	if first == nil && facts.Browser && decision.Key != nil && decision.Key.Rare().ExposedAt == 0 {
		shared.exposed(decision.Key, remoteIP(r))
	}

	whoami := h.asksWhoami(r)
	if !decision.Allowed() {
		before.withdraw(r)
		h.setRateLimitHeaders(w.Header(), &decision, nil)
		setKeyEndHeaders(w.Header(), &decision, false)
		return h.refuse(w, r, &decision)
	}

	passed := new(passage)
	h.setRateLimitHeaders(w.Header(), &decision, &passed.limits)
	setKeyEndHeaders(w.Header(), &decision, !whoami)
	passed.begin(h, &decision, &facts, first)
	if h.Assertion != nil && !whoami {
		passed.assertion = h.sign(shared, r, &decision)
	}
	passed.identify(r, repl)
	if whoami {
		return answerWhoami(w, decision.Key)
	}
	onward := passed.stream.begin(w, r, shared.authn, decision.Key, facts.WebSocket, !h.app.sendsAtOnce.Load())
	passed.response.begin(&passed.stream, &decision)
	return h.serve(passed, r, onward, next, &decision)
}

// processStart is what durations are measured from: reading the monotonic clock
// alone takes half as long as time.Now.
var processStart = time.Now()

// decide asks the authenticator, and measures how long it takes. It is not ok if
// the check panics: such a request is answered, and does not pass.
func (h *Auth) decide(ctx context.Context, shared *instance, facts *authn.Facts, room bool) (decision authn.Decision, took time.Duration, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("panic while checking a request", zap.Any("panic", p), zap.ByteString("stack", debug.Stack()))
			decision, ok = authn.Decision{}, false
		}
	}()
	begun := time.Since(processStart)
	if shared == nil || h.cannotSign(shared) || !room {
		decision = authn.Decision{Result: authn.Unavailable, Action: authn.Read}
		return decision, time.Since(processStart) - begun, true
	}
	decision = shared.authn.Check(ctx, &h.policy, facts)
	return decision, time.Since(processStart) - begun, true
}

// serve has the next handlers answer a request that passed, for as long as its key
// may be used. If the key ends before the response has begun, the request is
// refused like any other with that key. A response that has begun is cut off, so
// that nobody takes it for complete.
//
// Once an error is returned, or the key has ended, error routes answer in place of the
// handlers, and nothing ends what they do with the key. So they do it in nobody's name.
func (h *Auth) serve(passed *passage, r, onward *http.Request, next caddyhttp.Handler, d *authn.Decision) (err error) {
	flow, returned := &passed.stream, false
	defer func() {
		flow.done()
		if why := flow.Ended(); why != "" && (!returned || err != nil || flow.cut.Load() || flow.broken) {
			ended := *d
			ended.Result = why
			passed.withdraw(r)
			err = h.cutOff(flow, r, &ended, err, recover())
		}
	}()
	err = next.ServeHTTP(&passed.response, onward)
	if returned = true; err != nil {
		passed.withdraw(r)
	}
	removeKeyEndTrailers(passed.response.Header())
	return err
}

// cutOff ends the response to a request whose key has ended, after its handlers
// have returned an error or panicked.
func (h *Auth) cutOff(flow *stream, r *http.Request, ended *authn.Decision, err error, panicked any) error {
	h.annotate(r.Context(), ended)
	if panicked != nil && panicked != http.ErrAbortHandler {
		panic(panicked)
	}
	if flow.begun {
		if flow.socket && panicked == nil {
			return err
		}
		panic(http.ErrAbortHandler) // as reverse_proxy does
	}
	if flow.broken && r.ProtoMajor == 1 {
		// net/http has cancelled the connection's context, from which those of the
		// next requests on it derive.
		flow.Header().Set("Connection", "close")
	}
	if flow.body.ReadCloser != nil {
		r.Body = flow.body.rest()
	}
	w := flow.ResponseWriter
	removeKeyEndHeaders(w.Header())
	if len(w.Header()[limitHeader]) == 0 { // the handlers' response took it along
		h.setRateLimitHeaders(w.Header(), ended, nil)
	}
	return h.refuse(w, r, ended)
}

// trailerGuard hides a client's trailers from error routes too. If a handler
// before this one has copied the request, error routes see Caddy's copy, whose
// trailers net/http fills in once the body has been read to its end. So they get no
// body.
type trailerGuard struct {
	caddyhttp.Handler
	trailers http.Header
	body     io.Closer
}

// withoutTrailersOnError wraps the next handler if the request declares trailers and is
// a copy of the one that error routes see.
func withoutTrailersOnError(next caddyhttp.Handler, r *http.Request, repl *caddy.Replacer) caddyhttp.Handler {
	if len(r.Trailer) == 0 || !isCopied(r, repl) {
		return next
	}
	return trailerGuard{next, r.Trailer, r.Body}
}

// isCopied reports whether a request is a copy of the one that Caddy made. The
// placeholders are read from that one, and show whether it is the same.
func isCopied(r *http.Request, repl *caddy.Replacer) bool {
	defer func(method string) { r.Method = method }(r.Method)
	r.Method = "" // no request has none
	method, ok := repl.GetString("http.request.method")
	return !ok || method != ""
}

func (g trailerGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	err := g.Handler.ServeHTTP(w, r)
	if err != nil {
		_ = g.body.Close()
		clear(g.trailers)
	}
	return err
}
