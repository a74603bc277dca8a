package caddymodule

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// A calendar that subscribes to a feed sends nothing but its URL, so the path contains
// the secret. Caddy's access log records URLs as they were sent, before any handler
// runs; but a handler can have a request left out of the log. So such a request is left
// out, and an entry of the same form is written without the secret.

// withoutSecretPath serves a request, and keeps a token in its path out of the access
// log and the span.
func (h *Admin) withoutSecretPath(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter)) {
	asked := r.URL
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok {
		asked = original.URL // as logged, before handlers rewrote it
	}
	if !apikey.HoldsToken(asked.Path) {
		serve(w)
		return
	}
	logged := r.WithContext(r.Context())
	logged.RequestURI = redactedURI(asked)
	if span := trace.SpanFromContext(r.Context()); span.IsRecording() {
		span.SetAttributes(attribute.String("url.path", logged.RequestURI))
	}
	logs, ok := leaveOutOfLog(r)
	if !ok {
		serve(w)
		return
	}
	recorder := caddyhttp.NewResponseRecorder(w, nil, nil)
	begun := time.Now()
	serve(recorder)
	h.logAccess(logs, logged, answered{recorder.Status(), recorder.Size(), recorder.Header()}, time.Since(begun))
}

// leaveOutOfLog has a request left out of the access log, and returns how that is
// configured. It is not ok if the request would not be in it anyway.
func leaveOutOfLog(r *http.Request) (logs *caddyhttp.ServerLogConfig, ok bool) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	skip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.LogSkipVar).(bool)
	if !ok || server.Logs == nil || skip {
		return nil, false
	}
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	return server.Logs, true
}

// answered is what the access log has of a response.
type answered struct {
	status, size int
	header       http.Header
}

// redactedURI returns the path of a URL with its tokens redacted, and no query.
func redactedURI(u *url.URL) string {
	segments := strings.Split(u.Path, "/")
	for i, segment := range segments {
		if apikey.HoldsToken(segment) {
			segments[i] = "REDACTED"
		}
	}
	return (&url.URL{Path: strings.Join(segments, "/")}).EscapedPath()
}

// logAccess writes the entry that Caddy would have written.
func (h *Admin) logAccess(logs *caddyhttp.ServerLogConfig, r *http.Request, sent answered, took time.Duration) {
	level := zapcore.InfoLevel
	if sent.status >= http.StatusInternalServerError {
		level = zapcore.ErrorLevel
	}
	for _, name := range accessLoggers(logs, r) {
		if line := h.accessLog.Named(name).Check(level, "handled request"); line != nil {
			line.Write(
				zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}),
				zap.Int("bytes_read", 0), zap.String("user_id", ""), zap.Duration("duration", took),
				zap.Int("size", sent.size), zap.Int("status", sent.status),
				zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: sent.header}),
			)
		}
	}
}

// accessLoggers returns the names of a server's loggers for a request, as Caddy selects
// them; "" is the default logger.
func accessLoggers(logs *caddyhttp.ServerLogConfig, r *http.Request) (names []string) {
	host := strings.ToLower(r.Host)
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	patterns := hostPatterns(host)
	mapped := slices.IndexFunc(patterns, func(pattern string) bool { _, ok := logs.LoggerNames[pattern]; return ok })
	if mapped < 0 {
		skipped := slices.ContainsFunc(logs.SkipHosts, func(skip string) bool { return slices.Contains(patterns, strings.ToLower(skip)) })
		if skipped || logs.SkipUnmappedHosts {
			return nil
		}
	}
	if chosen, ok := caddyhttp.GetVar(r.Context(), caddyhttp.AccessLoggerNameVarKey).([]any); ok { // by log_name
		for _, name := range chosen {
			if name, ok := name.(string); ok {
				names = append(names, name)
			}
		}
		return names
	}
	if mapped >= 0 {
		return logs.LoggerNames[patterns[mapped]]
	}
	return []string{logs.DefaultLoggerName}
}

// hostPatterns returns a host and the wildcards that match it, most specific first.
func hostPatterns(host string) []string {
	patterns, labels := []string{host}, strings.Split(host, ".")
	for i := range labels {
		labels[i] = "*"
		patterns = append(patterns, strings.Join(labels, "."))
	}
	return patterns
}
