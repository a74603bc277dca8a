package caddymodule

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// sampled returns a logger that logs the same message once per second, for failures
// that can happen on every request: a flood of requests must not fill the disk.
func sampled(log *zap.Logger) *zap.Logger {
	last := new([4096]atomic.Int64)
	return log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core { return sampledCore{core, last} }))
}

// sampledCore does what zap's sampler does, whose counters take half a megabyte. If two
// messages share a place, one may hide the other for a second.
type sampledCore struct {
	zapcore.Core
	last *[4096]atomic.Int64 // when a message was logged last, in nanoseconds since 1970
}

func (c sampledCore) With(fields []zap.Field) zapcore.Core {
	return sampledCore{c.Core.With(fields), c.last}
}

func (c sampledCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	hash := uint32(2166136261) // FNV-1a
	for i := range len(entry.Message) {
		hash = (hash ^ uint32(entry.Message[i])) * 16777619
	}
	place := &c.last[hash%uint32(len(c.last))]
	last, now := place.Load(), entry.Time.UnixNano()
	// An entry may be a little older than the last: its time was taken before. If it is older by
	// more than a second, the clock was set back.
	if passed := time.Duration(now - last); passed.Abs() < time.Second || !place.CompareAndSwap(last, now) {
		return checked
	}
	return c.Core.Check(entry, checked)
}

// sampledLogger returns the logger for failures that can happen on every request. The
// process has one: a connection can hold on to a replaced configuration for minutes.
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
