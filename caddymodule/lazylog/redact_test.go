package lazylog

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const canary = "canary-0123456789"

// withToken returns a request that has a canary in each spelling of a header.
func withToken() *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	for _, name := range []string{"X-Lazy-Token", "X_lazy_token", "X.lazy.token", "X-Lazy_token", "X~lazy!token"} {
		r.Header[name] = []string{canary, canary}
	}
	r.Header.Set("X-Other", "kept")
	return r
}

// logRequest logs a request in every way that Caddy does.
func logRequest(log *zap.Logger, r *http.Request) {
	loggable := caddyhttp.LoggableHTTPRequest{Request: r}
	log.WithLazy(zap.Object("request", loggable)).Error("handled request", zap.Object("resp_headers", caddyhttp.LoggableHTTPHeader{Header: r.Header}))
	log.With(zap.Object("request", &loggable)).Error("pointers", zap.Object("headers", &caddyhttp.LoggableHTTPHeader{Header: r.Header}))
	log.Error("of the entry", zap.Any("request", loggable), zap.Inline(loggable))
	log.Error("of another module", zap.Any("headers", r.Header))
}

// The formats that a log can have, and whether a token in a header of its own would be in
// what they write.
var formats = []struct {
	format string
	leaks  bool
}{
	{"lazy", false},
	{"lazy json", false},
	{"lazy console", false},
	{"lazy filter {\nrequest>uri delete\n}", false},
	{"append {\nwrap lazy\nhost a\n}", false},
	{"filter {\nrequest>headers delete\nheaders delete\nresp_headers delete\n}", false},
	{"filter {\nrequest delete\nheaders delete\nresp_headers delete\n}", false},
	{"json", true},
	{"console", true},
	{"append {\nhost a\n}", true},
	{"filter {\nrequest>headers>X-Lazy-Token delete\n}", true}, // in another spelling
	{"filter {\nrequest>headers>X-Lazy-Token delete\nrequest>headers>X_lazy_token delete\nrequest>headers>X.lazy.token delete\nrequest>headers>X~lazy~token delete\n}", true}, // in yet another
	{"filter {\nrequest>headers>X-Lazy-Token hash\n}", true},
	{"filter {\nrequest>headers>X-Lazy-Token rename token\n}", true},
	{"filter {\nwrap lazy\nrequest>uri delete\n}", true}, // lazy sees no request
}

// A log whose format is known to redact a header writes no value of it.
func TestRedacts(t *testing.T) {
	Redact("X-Lazy-Token")
	Redact("X-Lazy-Token")
	for _, test := range formats {
		log, out := logIn(t, test.format)
		if got := Redacts(log.Core(), zapcore.ErrorLevel, "X-Lazy-Token"); got == test.leaks {
			t.Errorf("%s: is it known to redact? got %t", test.format, got)
		}
		if len(out.written) > 0 {
			t.Errorf("%s: something was written: %s", test.format, out.written)
		}
		logRequest(log, withToken())
		all := ""
		for _, line := range out.written {
			all += string(line)
		}
		if leaks := strings.Contains(all, canary); leaks && !test.leaks {
			t.Errorf("%s: the token is in the log: %s", test.format, all)
		}
	}
}

// environment is what php_fastcgi logs for debugging.
type environment map[string]string

func (e environment) MarshalLogObject(to zapcore.ObjectEncoder) error {
	for name, value := range e {
		to.AddString(name, value)
	}
	return nil
}

// The environment of a FastCGI application has the header under other names.
func TestRedact_environment(t *testing.T) {
	Redact("X-Lazy-Token")
	for _, format := range []string{"lazy", "lazy console"} {
		log, out := logIn(t, format)
		log.Error("roundtrip", zap.Object("env", environment{"HTTP_X_LAZY_TOKEN": canary, "HTTP_X!LAZY!TOKEN": canary, "HTTP_ACCEPT": "kept"}))
		all := string(bytes.Join(out.written, nil))
		if strings.Contains(all, canary) || !strings.Contains(all, "kept") {
			t.Errorf("%s: got %s, want the token redacted and the other variables kept", format, all)
		}
	}
}

// Other headers stay as they are, and the request itself too.
func TestRedact(t *testing.T) {
	Redact("X-Lazy-Token")
	log, out := logIn(t, "lazy")
	r := withToken()
	logRequest(log, r)
	if got := r.Header["X_lazy_token"][0]; got != canary {
		t.Errorf("the request was changed: %q", got)
	}
	for _, line := range out.written {
		if !strings.Contains(string(line), `"X-Other":["kept"]`) || !strings.Contains(string(line), `"X_lazy_token":["REDACTED"]`) {
			t.Errorf("got %s, want the one header kept and the other redacted", line)
		}
	}
}

// A log that Redact has not named the header to does not redact it.
func TestRedacts_unnamed(t *testing.T) {
	log, _ := logIn(t, "lazy")
	if Redacts(log.Core(), zapcore.ErrorLevel, "X-Unnamed") {
		t.Error("got yes for a header that nobody has named")
	}
}

// Of several logs, all must redact the header, apart from those that write no such entries.
func TestRedacts_several(t *testing.T) {
	Redact("X-Lazy-Token")
	lazy, _ := logIn(t, "lazy")
	json, _ := logIn(t, "json")
	fatal := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), new(lines), zapcore.FatalLevel)
	sampled := func(core zapcore.Core) zapcore.Core { return zapcore.NewSamplerWithOptions(core, 1, 1, 1) }
	for name, test := range map[string]struct {
		core zapcore.Core
		want bool
	}{
		"none":                      {zapcore.NewTee(), true},
		"one that discards":         {zapcore.NewNopCore(), true},
		"both lazy":                 {zapcore.NewTee(lazy.Core(), lazy.Core()), true},
		"one that is not":           {zapcore.NewTee(lazy.Core(), json.Core()), false},
		"one that is not, nested":   {zapcore.NewTee(lazy.Core(), sampled(zapcore.NewTee(lazy.Core(), json.Core()))), false},
		"sampled":                   {sampled(lazy.Core()), true},
		"sampled, and not lazy":     {sampled(json.Core()), false},
		"one for fatal errors only": {zapcore.NewTee(lazy.Core(), fatal), true},
		"one that defers encoding":  {zapcore.NewLazyWith(json.Core(), nil), false},
		"one of an unknown kind":    {unknownCore{}, false},
	} {
		if got := Redacts(test.core, zapcore.ErrorLevel, "X-Lazy-Token"); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

// unknownCore encodes fields when it writes them, and nobody knows how.
type unknownCore struct{ zapcore.LevelEnabler }

func (unknownCore) Enabled(zapcore.Level) bool                 { return true }
func (c unknownCore) With([]zapcore.Field) zapcore.Core        { return c }
func (unknownCore) Write(zapcore.Entry, []zapcore.Field) error { return nil }
func (unknownCore) Sync() error                                { return nil }
func (c unknownCore) Check(_ zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return ce
}
