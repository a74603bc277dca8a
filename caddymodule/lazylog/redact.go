package lazylog

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/agiled/caddy-api-keys/identity"
)

// Caddy redacts the values of Authorization, Cookie and a few other headers in its logs,
// but of no header that somebody else's credentials are in. It copies a request for its
// logs before any handler runs, so that only the format of a log can still do it.

// secrets are the headers whose values are redacted.
var secrets struct {
	adding sync.Mutex
	names  []string
	set    atomic.Pointer[identity.Headers] // of the names; nil if there are none
}

// Redact has all logs in the format lazy redact the values of a header, in every spelling,
// for as long as the process runs.
func Redact(header string) {
	secrets.adding.Lock()
	defer secrets.adding.Unlock()
	if slices.Contains(secrets.names, header) {
		return
	}
	secrets.names = append(secrets.names, header)
	set := identity.NewHeaders(secrets.names...)
	secrets.set.Store(&set)
}

// redact replaces what is secret in fields that nobody else uses.
func redact(fields []zapcore.Field) {
	set := secrets.set.Load()
	if set == nil {
		return
	}
	for i := range fields {
		switch logged := fields[i].Interface.(type) {
		case caddyhttp.LoggableHTTPRequest:
			fields[i].Interface = redactRequest(logged, set)
		case *caddyhttp.LoggableHTTPRequest:
			fields[i].Interface = redactRequest(*logged, set)
		case caddyhttp.LoggableHTTPHeader:
			logged.Header = redactHeader(logged.Header, set)
			fields[i].Interface = logged
		case *caddyhttp.LoggableHTTPHeader:
			fields[i].Interface = caddyhttp.LoggableHTTPHeader{
				Header: redactHeader(logged.Header, set), ShouldLogCredentials: logged.ShouldLogCredentials,
			}
		}
	}
}

func redactRequest(logged caddyhttp.LoggableHTTPRequest, set *identity.Headers) caddyhttp.LoggableHTTPRequest {
	header := redactHeader(logged.Header, set)
	logged.Request = logged.WithContext(logged.Context()) // a copy
	logged.Header = header
	return logged
}

// redacted is what Caddy writes in place of a secret.
var redacted = []string{"REDACTED"}

// redactHeader returns a copy if there is something to redact.
func redactHeader(header http.Header, set *identity.Headers) http.Header {
	var copied http.Header
	for name := range header {
		if !set.Match(name) {
			continue
		}
		if copied == nil {
			copied = header.Clone()
		}
		copied[name] = redacted
	}
	if copied == nil {
		return header
	}
	return copied
}
