package lazylog

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/agiled/caddy-api-keys/identity"
)

// Caddy redacts the values of Authorization, Cookie and a few other headers in its logs,
// but of no other header that has credentials. It copies a request for its logs before any
// handler runs, so that only the format of a log can still do it.

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

// redact has fields that nobody else uses leave out what is secret.
func redact(fields []zapcore.Field) {
	set := secrets.set.Load()
	if set == nil {
		return
	}
	for i := range fields {
		switch field := &fields[i]; field.Type {
		case zapcore.ObjectMarshalerType, zapcore.InlineMarshalerType:
			field.Interface = redactedObject{field.Interface.(zapcore.ObjectMarshaler), set}
		case zapcore.ReflectType:
			if header, ok := field.Interface.(http.Header); ok {
				field.Interface = redactHeader(header, set)
			}
		}
	}
}

// redactedObject is an object without what is secret in it: of the requests and headers that
// Caddy logs, and of the environment of a FastCGI application.
type redactedObject struct {
	zapcore.ObjectMarshaler
	set *identity.Headers
}

func (o redactedObject) MarshalLogObject(to zapcore.ObjectEncoder) error {
	return o.ObjectMarshaler.MarshalLogObject(redacting{to, o.set})
}

// redacting encodes an object, apart from what is secret in it.
type redacting struct {
	zapcore.ObjectEncoder
	set *identity.Headers
}

func (r redacting) AddObject(name string, object zapcore.ObjectMarshaler) error {
	return r.ObjectEncoder.AddObject(name, redactedObject{object, r.set})
}

// AddArray encodes a list, which the values of a header are.
func (r redacting) AddArray(name string, list zapcore.ArrayMarshaler) error {
	if r.set.Match(name) {
		list = caddyhttp.LoggableStringArray(redacted)
	}
	return r.ObjectEncoder.AddArray(name, list)
}

// AddString encodes a text. In an environment (RFC 3875, section 4.1.18), a header has HTTP_
// before its name.
func (r redacting) AddString(name, text string) {
	if header, ok := strings.CutPrefix(name, "HTTP_"); ok && r.set.Match(header) {
		text = redacted[0]
	}
	r.ObjectEncoder.AddString(name, text)
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
