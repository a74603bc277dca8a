package caddymodule

import (
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// sampled returns a logger that says the same thing once a second, for what can
// go wrong on every request: a flood of them must not fill the disk.
func sampled(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return zapcore.NewSamplerWithOptions(core, time.Second, 1, 0)
	}))
}

// sampledLogger returns the logger of what can go wrong on every request. The
// process has one: what a sampler counts takes half a megabyte, and a
// configuration that was replaced can be remembered by a connection for minutes.
var sampledLogger = sync.OnceValue(func() *zap.Logger {
	return sampled(reloadSafe(caddy.Log().Named(appName)))
})

// reloadSafe returns a logger for what outlives the configuration that the given
// logger belongs to. Each configuration has loggers of its own, and closes them
// when it is replaced.
func reloadSafe(log *zap.Logger) *zap.Logger {
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
		return reloadSafeCore{first: core}
	}))
}

// reloadSafeCore logs where, and from which level on, the running configuration
// says that this app does.
type reloadSafeCore struct {
	first  zapcore.Core // while no configuration runs yet
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

// Enabled implements zapcore.Core. What is enabled is found out once, by Check.
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
