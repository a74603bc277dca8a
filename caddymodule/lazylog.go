package caddymodule

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

// LazyEncoder formats a log's entries as another encoder does, but nothing before
// it is written. Caddy's reverse_proxy describes each request for a debug message,
// whether or not anybody wants it; a log with this encoder leaves that out where
// the message is not written. What is written looks the same.
type LazyEncoder struct {
	// How entries look: another encoder. Default: `json`, or `console` on a
	// terminal.
	WrappedRaw json.RawMessage `json:"wrap,omitempty" caddy:"namespace=caddy.logging.encoders inline_key=format"`

	deferred
	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (LazyEncoder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.logging.encoders.lazy", New: func() caddy.Module { return new(LazyEncoder) }}
}

// Provision loads the encoder that does the work.
func (e *LazyEncoder) Provision(ctx caddy.Context) error {
	e.ctx = ctx
	if e.WrappedRaw == nil {
		return e.wrap(new(logging.JSONEncoder))
	}
	module, err := ctx.LoadModule(e, "WrappedRaw")
	if err != nil {
		return fmt.Errorf("loading the encoder in a lazy one: %w", err)
	}
	e.encoder = module.(zapcore.Encoder)
	return nil
}

// wrap makes an encoder with its defaults do the work.
func (e *LazyEncoder) wrap(encoder interface {
	zapcore.Encoder
	caddy.Provisioner
}) error {
	e.encoder = encoder
	return encoder.Provision(e.ctx)
}

// ConfigureDefaultFormat makes entries look on a terminal as Caddy's own do.
func (e *LazyEncoder) ConfigureDefaultFormat(to caddy.WriterOpener) error {
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
func (e *LazyEncoder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
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
		return d.Errf("%s is no encoder of logs", name)
	}
	e.WrappedRaw = caddyconfig.JSONModuleObject(encoder, "format", name, nil)
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner                = (*LazyEncoder)(nil)
	_ caddy.ConfiguresFormatterDefault = (*LazyEncoder)(nil)
	_ caddyfile.Unmarshaler            = (*LazyEncoder)(nil)
	_ zapcore.Encoder                  = (*LazyEncoder)(nil)
)
