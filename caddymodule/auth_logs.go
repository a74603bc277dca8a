package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap/zapcore"

	"github.com/agiled/caddy-api-keys/caddymodule/lazylog"
)

// refuseLoggedCredentials refuses a server whose access log would contain tokens:
// Caddy copies the headers for its log before any handler runs.
func refuseLoggedCredentials(ctx caddy.Context) error {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok && server.Logs != nil && server.Logs.ShouldLogCredentials {
		return errors.New("log_credentials would write every token to the access log: remove it from the server that uses api_key_auth or api_key_admin")
	}
	return nil
}

// refuseLoggedTokens refuses a configuration with a log that would contain the tokens in a
// header that Caddy does not redact. All requests count, not only those that come here:
// clients also send tokens to the wrong path or host, and handlers before this one can log
// them or fail.
func refuseLoggedTokens(ctx caddy.Context, header string) error {
	if header == "" {
		return nil
	}
	lazylog.Redact(header)
	leaking := leakingLogs(ctx, header)
	if len(leaking) == 0 {
		return nil
	}
	var names, mend []string
	for _, log := range leaking {
		names = append(names, log.name)
		mend = append(mend, log.mend+"\n")
	}
	return fmt.Errorf("token_header: the tokens in %s, or in another spelling of it, would be written to %s: Caddy redacts Authorization in its logs, but no header of your own. "+
		"The format lazy redacts %[1]s too. %[3]sWhere a log has a format already, write lazy before it: format lazy json. "+
		`In JSON, it is the log's "encoder": {"format": "lazy"}, with the other format in its "wrap"`,
		header, strings.Join(names, ", and to "), strings.Join(mend, ""))
}

// leakingLog is a log that would contain tokens.
type leakingLog struct {
	name string // in a sentence
	mend string // what to write, and where
}

const (
	// lazyBlock is what to write where there may be no log block.
	lazyBlock = "write:\n\tlog {\n\t\tformat lazy\n\t}"
	// lazyLine is what to write into a log block among the global options, which has the
	// name that somebody has given it.
	lazyLine = ", write:\n\t\tformat lazy"
	inGlobal = "In the log block among the global options that has "
)

// loggers are those whose names begin with a name. It stands for the module of that name
// when Caddy is asked for the logs that have entries of such loggers.
type loggers string

// CaddyModule returns the Caddy module information.
func (l loggers) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: caddy.ModuleID(l)} }

// leakingLogs returns the logs that would contain tokens. Caddy does not say which logs
// there are, only whether any has the entries of a logger. So those that have the entries
// of loggers of any name are told apart by one that nobody has.
func leakingLogs(ctx caddy.Context, header string) (found []leakingLog) {
	leaks := func(entries loggers, level zapcore.Level) bool {
		return !lazylog.Redacts(ctx.Logger(entries).Core(), level, header)
	}
	const ofAny = ".of_any_name"
	switch {
	case !leaks("http.log.error", zapcore.ErrorLevel):
	case !lazylog.Redacts(caddy.Log().Core(), zapcore.ErrorLevel, header):
		found = append(found, leakingLog{"the log of errors", "Among the global options, " + lazyBlock})
	case leaks("http"+ofAny, zapcore.ErrorLevel):
		found = append(found, leakingLog{"a log of everything", inGlobal + "a name and no include" + lazyLine})
	default:
		found = append(found, leakingLog{"a log of errors", inGlobal + "http.log.error in its include" + lazyLine})
	}
	if len(found) == 0 && leaks("http.log.access"+ofAny, zapcore.ErrorLevel) {
		return []leakingLog{{"a log of all requests", inGlobal + "http.log.access in its include" + lazyLine}}
	}
	for _, site := range siteLogs(ctx) {
		if leaks(loggers("http.log.access."+site.log), zapcore.ErrorLevel) {
			found = append(found, leakingLog{"the access log of " + site.host, site.mend()})
		}
	}
	switch { // what has another name, or has requests at other levels
	case len(found) > 0:
	case leaks("http.log.access", zapcore.ErrorLevel):
		found = append(found, leakingLog{"an access log", "In each site with a log block, " + lazyBlock})
	case leaks("http", zapcore.DebugLevel):
		found = append(found, leakingLog{"a log of debug messages", inGlobal + "the level DEBUG" + lazyLine})
	}
	return found
}

// siteLog is an access log of a site.
type siteLog struct{ host, log string }

// unnamedLog is the name that a Caddyfile's log block without one gets.
var unnamedLog = regexp.MustCompile(`^log\d+$`)

// mend returns what to write, and where.
func (s siteLog) mend() string {
	in := "In the site " + s.host + ", "
	if unnamedLog.MatchString(s.log) {
		return in + lazyBlock
	}
	return in + strings.Replace(lazyBlock, "log {", "log "+s.log+" {", 1)
}

// siteLogs returns the access logs of the server's sites.
func siteLogs(ctx caddy.Context) (logs []siteLog) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return nil
	}
	for _, host := range slices.Sorted(maps.Keys(server.Logs.LoggerNames)) {
		for _, name := range server.Logs.LoggerNames[host] {
			if name != "" {
				logs = append(logs, siteLog{host, name})
			}
		}
	}
	return logs
}
