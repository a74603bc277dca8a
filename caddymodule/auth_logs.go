package caddymodule

import (
	"errors"
	"fmt"
	"maps"
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
	leaks := func(log requestLog) bool {
		return !lazylog.Redacts(ctx.Logger(log.entries).Core(), log.level, header)
	}
	leaking := slices.DeleteFunc(requestLogs(ctx), func(log requestLog) bool { return !leaks(log) })
	if len(leaking) == 0 {
		leaking = slices.DeleteFunc(otherLogs(), func(log requestLog) bool { return !leaks(log) })
	}
	if len(leaking) == 0 {
		return nil
	}
	var names, mend []string
	for _, log := range leaking {
		names = append(names, log.name)
		mend = append(mend, log.place+":\n\tlog {\n\t\tformat lazy\n\t}\n")
	}
	return fmt.Errorf("token_header: the tokens in %s, or in another spelling of it, would be written to %s: Caddy redacts Authorization in its logs, but no header of your own. "+
		"The format lazy redacts %[1]s too. %[3]sWhere a log has a format already, write lazy before it: format lazy json. "+
		`In JSON, it is the log's "encoder": {"format": "lazy"}, with the other format in its "wrap"`,
		header, strings.Join(names, ", and to "), strings.Join(mend, ""))
}

// requestLog is a log that can have requests.
type requestLog struct {
	entries loggers
	level   zapcore.Level // the highest of entries with requests
	name    string        // in a sentence
	place   string        // where it is configured
}

// loggers are those whose names begin with a name. It stands for the module of that name
// when Caddy is asked for the logs that have entries of such loggers.
type loggers string

// CaddyModule returns the Caddy module information.
func (l loggers) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: caddy.ModuleID(l)} }

// requestLogs returns the logs that the server's errors and its sites' requests go to.
func requestLogs(ctx caddy.Context) []requestLog {
	logs := []requestLog{{"http.log.error", zapcore.ErrorLevel, "the log of errors", "Among the global options, write"}}
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || server.Logs == nil {
		return logs
	}
	for _, host := range slices.Sorted(maps.Keys(server.Logs.LoggerNames)) {
		for _, name := range server.Logs.LoggerNames[host] {
			if name != "" {
				logs = append(logs, requestLog{loggers("http.log.access." + name), zapcore.ErrorLevel, "the access log of " + host, "In the site " + host + ", write"})
			}
		}
	}
	return logs
}

// otherLogs returns what stands for all logs that can have requests. A handler before the
// check can log them too, for debugging.
func otherLogs() []requestLog {
	return []requestLog{
		{"http.log.access", zapcore.ErrorLevel, "an access log", "In each site with a log block, write"},
		{"http", zapcore.DebugLevel, "a log of debug messages", "Where it has the level DEBUG, write"},
	}
}
