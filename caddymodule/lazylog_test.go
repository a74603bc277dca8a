package caddymodule

import (
	"errors"
	"regexp"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// told counts how often it was described.
type told struct {
	times *int
	err   error
}

func (o told) MarshalLogObject(to zapcore.ObjectEncoder) error {
	*o.times++
	to.AddString("it", "is described")
	return o.err
}

// lines is a writer that keeps what is written.
type lines struct{ written [][]byte }

func (l *lines) Write(b []byte) (int, error) {
	l.written = append(l.written, append([]byte(nil), b...))
	return len(b), nil
}

func (*lines) Sync() error { return nil }

// logIn returns a logger that writes in the format of a Caddyfile, and what it
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

func TestLazyEncoder_describesWhatIsWrittenAlone(t *testing.T) {
	log, out := logIn(t, "lazy")
	times := 0
	request := zap.Object("request", told{times: &times})
	log.With(request).Debug("nobody reads this")
	if times != 0 {
		t.Errorf("described %d times, want none: nothing was written", times)
	}
	log.With(request).Info("somebody reads this")
	if times != 1 || len(out.written) != 1 {
		t.Errorf("described %d times in %d lines, want 1 in 1", times, len(out.written))
	}
}

// timeless returns a line without its time.
func timeless(line []byte) string {
	return regexp.MustCompile(`"ts":[0-9.]+`).ReplaceAllString(string(line), "")
}

// TestLazyEncoder_agrees: what is written is what the encoder within writes.
func TestLazyEncoder_agrees(t *testing.T) {
	times := new(int)
	described := func(key string) zap.Field { return zap.Object(key, told{times: times}) }
	broken := zap.Object("broken", told{times, errors.New("cannot tell")})
	cases := map[string]func(*zap.Logger){
		"nothing":          func(l *zap.Logger) { l.Info("m") },
		"fields":           func(l *zap.Logger) { l.With(zap.Int("a", 1)).Info("m", zap.Duration("b", time.Second)) },
		"object":           func(l *zap.Logger) { l.With(described("a")).Info("m") },
		"object of a line": func(l *zap.Logger) { l.Info("m", described("a")) },
		"both": func(l *zap.Logger) {
			l.With(described("a"), zap.Int("b", 2)).Info("m", described("c"), zap.Int("d", 4))
		},
		"one on the other": func(l *zap.Logger) { l.With(described("a")).With(described("b")).Info("m") },
		"siblings": func(l *zap.Logger) {
			parent := l.With(described("a"))
			first, second := parent.With(described("b")), parent.With(described("c"))
			first.Info("m")
			second.Info("n")
			parent.Info("o")
		},
		"twice": func(l *zap.Logger) { w := l.With(described("a")); w.Info("m"); w.Info("n") },
		"namespace": func(l *zap.Logger) {
			l.With(described("a"), zap.Namespace("in"), described("b")).Info("m", described("c"))
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

// BenchmarkLazyEncoder measures what a message costs that nobody wants: what
// reverse_proxy prepares for each request.
func BenchmarkLazyEncoder(b *testing.B) {
	r := newExchange("").request
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
