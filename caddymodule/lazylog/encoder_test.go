package lazylog

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// counted counts how often it is formatted.
type counted struct {
	times *int
	err   error
}

func (o counted) MarshalLogObject(to zapcore.ObjectEncoder) error {
	*o.times++
	to.AddString("a", "b")
	return o.err
}

// lines records what is written.
type lines struct{ written [][]byte }

func (l *lines) Write(b []byte) (int, error) {
	l.written = append(l.written, append([]byte(nil), b...))
	return len(b), nil
}

func (*lines) Sync() error { return nil }

// logIn returns a logger with a format in Caddyfile syntax, and a record of what it
// writes.
func logIn(t testing.TB, format string) (*zap.Logger, *lines) {
	t.Helper()
	d := caddyfile.NewTestDispenser(format)
	d.Next()
	encoder, err := caddyfile.UnmarshalModule(d, "caddy.logging.encoders."+d.Val())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	if err := encoder.(caddy.Provisioner).Provision(ctx); err != nil {
		t.Fatal(err)
	}
	out := new(lines)
	return zap.New(zapcore.NewCore(encoder.(zapcore.Encoder), out, zapcore.InfoLevel)), out
}

func TestEncoder_formatsOnlyWhatIsWritten(t *testing.T) {
	log, out := logIn(t, "lazy")
	times := 0
	request := zap.Object("request", counted{times: &times})
	log.With(request).Debug("nobody reads this")
	if times != 0 {
		t.Errorf("formatted %d times, want none: nothing was written", times)
	}
	log.With(request).Info("somebody reads this")
	if times != 1 || len(out.written) != 1 {
		t.Errorf("formatted %d times in %d lines, want 1 in 1", times, len(out.written))
	}
}

// timeless returns a line without its time.
func timeless(line []byte) string {
	return regexp.MustCompile(`"ts":[0-9.]+`).ReplaceAllString(string(line), "")
}

// TestEncoder_writesWhatTheWrappedOneWrites checks that the output is the same,
// byte for byte.
func TestEncoder_writesWhatTheWrappedOneWrites(t *testing.T) {
	times := new(int)
	object := func(key string) zap.Field { return zap.Object(key, counted{times: times}) }
	broken := zap.Object("broken", counted{times, errors.New("cannot be formatted")})
	cases := map[string]func(*zap.Logger){
		"nothing":          func(l *zap.Logger) { l.Info("m") },
		"fields":           func(l *zap.Logger) { l.With(zap.Int("a", 1)).Info("m", zap.Duration("b", time.Second)) },
		"object":           func(l *zap.Logger) { l.With(object("a")).Info("m") },
		"object of a line": func(l *zap.Logger) { l.Info("m", object("a")) },
		"both": func(l *zap.Logger) {
			l.With(object("a"), zap.Int("b", 2)).Info("m", object("c"), zap.Int("d", 4))
		},
		"one on the other": func(l *zap.Logger) { l.With(object("a")).With(object("b")).Info("m") },
		"siblings": func(l *zap.Logger) {
			parent := l.With(object("a"))
			first, second := parent.With(object("b")), parent.With(object("c"))
			first.Info("m")
			second.Info("n")
			parent.Info("o")
		},
		"twice": func(l *zap.Logger) { w := l.With(object("a")); w.Info("m"); w.Info("n") },
		"namespace": func(l *zap.Logger) {
			l.With(object("a"), zap.Namespace("in"), object("b")).Info("m", object("c"))
		},
		"of every type": func(l *zap.Logger) {
			l.With(
				zap.Binary("a", []byte{1}), zap.ByteString("b", []byte("b")), zap.Bool("c", true), zap.Complex128("d", 1i), zap.Complex64("e", 2i),
				zap.Duration("f", time.Minute), zap.Float64("g", 0.1), zap.Float32("h", 0.2), zap.Int("i", -1), zap.Int64("j", -2), zap.Int32("k", -3),
				zap.Int16("l", -4), zap.Int8("m", -5), zap.String("n", "n"), zap.Time("o", time.Unix(1, 0).UTC()), zap.Uint("p", 1), zap.Uint64("q", 2),
				zap.Uint32("r", 3), zap.Uint16("s", 4), zap.Uint8("t", 5), zap.Uintptr("u", 6), zap.Any("v", map[string]int{"w": 7}),
				zap.Strings("x", []string{"y"}), zap.Error(errors.New("z")),
			).Info("m")
		},
		"broken":           func(l *zap.Logger) { l.With(broken).Info("m") },
		"broken in a line": func(l *zap.Logger) { l.Info("m", broken) },
	}
	for name, write := range cases {
		t.Run(name, func(t *testing.T) {
			lazy, got := logIn(t, "lazy json")
			plain, want := logIn(t, "json")
			write(lazy)
			write(plain)
			if len(got.written) != len(want.written) {
				t.Fatalf("got %d lines, want %d", len(got.written), len(want.written))
			}
			for i := range want.written {
				if got, want := timeless(got.written[i]), timeless(want.written[i]); got != want {
					t.Errorf("line %d: got %s, want %s", i, got, want)
				}
			}
		})
	}
}

// BenchmarkEncoder measures a debug message that is not written: the one that
// reverse_proxy prepares for each request.
func BenchmarkEncoder(b *testing.B) {
	r := httptest.NewRequest(http.MethodGet, "https://api.example.com/public/v1/orders?limit=50", nil)
	for name, value := range map[string]string{
		"Accept": "application/json", "Accept-Encoding": "gzip, br", "Accept-Language": "en", "Authorization": "Bearer ",
		"Cache-Control": "no-cache", "Connection": "keep-alive", "Content-Type": "application/json", "User-Agent": "zapier/2.1",
		"X-Request-Id": "0190f1c2-8a4e-7c30-b0f5-0e6a3f1d2c4b", "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	} {
		r.Header.Set(name, value)
	}
	for _, format := range []string{"json", "lazy json"} {
		b.Run(format, func(b *testing.B) {
			log, _ := logIn(b, format)
			b.ReportAllocs()
			for b.Loop() {
				log.With(
					zap.String("upstream", "127.0.0.1:9000"), zap.Duration("duration", time.Millisecond),
					zap.Object("request", caddyhttp.LoggableHTTPRequest{Request: r}),
				).Debug("upstream roundtrip")
			}
		})
	}
}
