package gatewaytest

import (
	"slices"
	"strings"
)

// A server that was built with the race detector says what it has found in its
// log, and ends with the status that it would have anyway: see launch. There the
// reports are judged, for every server alike.

// caddysRaces are the data races of Caddy 2.11.9 itself that are known: a report
// with both functions is of one of them.
var caddysRaces = [][2]string{
	// A certificate from the storage is announced while the app starts.
	{"caddytls.(*TLS).Start()", "caddytls.(*TLS).CaddyModule()"},
	// The last word to a WebSocket that is ended, and what is being copied to it.
	{"reverseproxy.writeCloseControl()", "reverseproxy.switchProtocolCopier.copyFromBackend()"},
	// An upstream resets an HTTP/2 stream while the request's body is being sent.
	{"reverseproxy.(*bodyNopCloserIfNotRead).Read()", "reverseproxy.(*bodyNopCloserIfNotRead).Close()"},
}

// races returns the reports of data races in a log that are not known to be
// Caddy's.
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
