package caddymodule

import (
	"net/http"
	"net/textproto"
	"strings"
)

// undeclare takes the announcements out of what an answer says its trailers will
// be. net/http would take the gateway's own header for the trailer, and send it
// at the end.
func undeclare(header http.Header) {
	declared := header["Trailer"]
	if len(declared) == 0 {
		return
	}
	var kept []string
	for _, value := range declared {
		for name := range strings.SplitSeq(value, ",") {
			name = textproto.TrimString(name)
			if name != "" && !isAnnouncement(name) {
				kept = append(kept, name)
			}
		}
	}
	if len(kept) == 0 {
		delete(header, "Trailer")
		return
	}
	header["Trailer"] = []string{strings.Join(kept, ", ")}
}

func isAnnouncement(name string) bool {
	for _, announcement := range announcements {
		if strings.EqualFold(name, announcement) {
			return true
		}
	}
	return false
}

// undeclaredTrailers are the announcements as trailers that were not declared.
var undeclaredTrailers = func() (names [len(announcements)]string) {
	for i, name := range announcements {
		names[i] = http.TrailerPrefix + name
	}
	return names
}()

// dropTrailers keeps an upstream from speaking of the key's end in trailers. The
// handlers have returned, so all trailers are in the header, and net/http has
// sent none of them yet.
func dropTrailers(header http.Header) {
	for _, name := range undeclaredTrailers {
		delete(header, name)
	}
}
