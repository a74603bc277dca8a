// Package lazylog registers the log format lazy, the module
// caddy.logging.encoders.lazy: another format, applied only to entries that are
// written, and without the tokens in them.
package lazylog

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/logging"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

func init() { caddy.RegisterModule(Encoder{}) }

// Encoder formats log entries with another encoder, and formats nothing that is
// not written. Caddy's reverse_proxy describes every request for a debug message,
// even where debug messages are off; a log with this encoder skips that work. The
// entries that are written look the same, except that the values of a header that
// an `api_key_auth` has as its `token_header` are redacted, as Caddy does with those
// of `Authorization`.
type Encoder struct {
	// The encoder that formats the entries. Default: `json`, or `console` on a
	// terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	deferred
	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (Encoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.lazy", New: func() caddy.Module { return new(Encoder) }}
}

// Provision loads the wrapped encoder.
func (e *Encoder) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	if e.WrappedRaw == nil {
		return e.wrap(new(logging.JSONEncoder))
	}
	module, err := ctx.LoadModule(e, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("loading the encoder that lazy wraps: %w", err)
	}
	e.encoder = module.(zapcore.Encoder)
	return nil
}

// wrap provisions an encoder with its defaults, and wraps it.
func (e *Encoder) wrap(encoder interface {
	zapcore.Encoder
	caddy.Provisioner
}) error {
	e.encoder = encoder
	return encoder.Provision(e.ctx)
}

// ConfigureDefaultFormat picks the console format on a terminal, as Caddy's own
// default does.
func (e *Encoder) ConfigureDefaultFormat(to caddy.WriterOpener) error {
	if e.WrappedRaw == nil {
		if caddy.IsWriterStandardStream(to) && term.IsTerminal(int(os.Stderr.Fd())) {
			return e.wrap(new(logging.ConsoleEncoder))
		}
		return nil
	}
	if inner, ok := e.encoder.(caddy.ConfiguresFormatterDefault); ok {
		return inner.ConfigureDefaultFormat(to)
	}
	return nil
}

// UnmarshalCaddyfile reads `lazy [<encoder> …]`.
func (e *Encoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // lazy
	if !d.NextArg() {
		return nil
	}
	name := d.Val()
	module, err := caddyfile.UnmarshalModule(d, "caddy.logging.encoders."+name)
	if err != nil {
		return err
	}
	encoder, ok := module.(zapcore.Encoder)
	if !ok {
		return d.Errf("%s is not a log encoder", name)
	}
	e.WrappedRaw = caddyconfig.JSONModuleObject(encoder, "format", name, nil)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner                = (*Encoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*Encoder)(nil)
	_ caddyfile.Unmarshaler            = (*Encoder)(nil)
	_ zapcore.Encoder                  = (*Encoder)(nil)
)
