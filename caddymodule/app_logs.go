package caddymodule

import (
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// sampled returns a logger that logs the same message once per second, for failures
// that can happen on every request: a flood of requests must not fill the disk.
func sampled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 1, 0)
	}))
}

// sampledLogger returns the logger for failures that can happen on every request.
// The process has one: a sampler's counters take half a megabyte, and a connection
// can hold on to a replaced configuration for minutes.
var sampledLogger = sync.OnceValue(func() *zap.Logger {
	return sampled(reloadSafe(caddy.Log().Named(appName)))
})

// reloadSafe returns a logger for values that outlive the configuration of the given
// logger. Each configuration has its own loggers, and closes them when it is replaced.
func reloadSafe(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return reloadSafeCore{first: core}
	}))
}

// reloadSafeCore logs to the output, and from the level, that the running
// configuration has for this app.
type reloadSafeCore struct {
	first  zapcore.Core // until a configuration runs
	fields []zap.Field
}

func (c reloadSafeCore) current() zapcore.Core {
	if ctx := caddy.ActiveContext(); ctx.Context != nil {
		return ctx.Logger(&App{}).Core()
	}
	if caddy.Exiting() {
		return caddy.Log().Core()
	}
	return c.first
}

// Enabled implements zapcore.Core. Check decides what is enabled.
func (reloadSafeCore) Enabled(zapcore.Level) bool { return true }

func (c reloadSafeCore) With(fields []zap.Field) zapcore.Core {
	return reloadSafeCore{c.first, slices.Concat(c.fields, fields)}
}

func (c reloadSafeCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	return c.current().With(c.fields).Check(entry, checked)
}

func (c reloadSafeCore) Write(entry zapcore.Entry, fields []zap.Field) error {
	return c.current().With(c.fields).Write(entry, fields)
}

func (c reloadSafeCore) Sync() error { return c.current().Sync() }
