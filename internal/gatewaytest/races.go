package gatewaytest

import (
	"slices"
	"strings"
)

// A server built with the race detector logs the races that it finds, and exits with its
// usual status: see Launch, which checks the log of every server for reports.

// caddysRaces are known data races in Caddy 2.11.9 itself, each identified by two
// functions in the report.
var caddysRaces = [][2]string{
	// A certificate is loaded from the storage while the app starts.
	{"caddytls.(*TLS).Start()", "caddytls.(*TLS).CaddyModule()"},
	// A WebSocket is closed while data is copied to it.
	{"reverseproxy.writeCloseControl()", "reverseproxy.switchProtocolCopier.copyFromBackend()"},
	// An upstream resets an HTTP/2 stream while the request body is being sent.
	{"reverseproxy.(*bodyNopCloserIfNotRead).Read()", "reverseproxy.(*bodyNopCloserIfNotRead).Close()"},
}

// races returns the reports in a log of data races that are not known ones in Caddy.
func races(log string) (ours []string) {
	for report := range strings.SplitSeq(log, "==================\n") {
		if !strings.Contains(report, "WARNING: DATA RACE") {
			continue
		}
		accesses, _, _ := strings.Cut(report, "\nGoroutine ")
		if !slices.ContainsFunc(caddysRaces, func(known [2]string) bool {
			return strings.Contains(accesses, known[0]) && strings.Contains(accesses, known[1])
		}) {
			ours = append(ours, report)
		}
	}
	return ours
}
