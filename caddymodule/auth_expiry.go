package caddymodule

import (
	"io"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/authn"
)

// announcements are the headers in which an answer speaks of its key's end. Each
// can have one value only, unlike RateLimit, which is a list of everybody's.
var announcements = [...]string{http.CanonicalHeaderKey(expiresHeader), deprecationHeader, sunsetHeader}

// announced is the answer to a request that passed. Where it says something of
// its key's end, an upstream that speaks of the end of something else would put
// its word beside, and a client could not tell whose is whose: the gateway's takes
// the place of it. In trailers only the gateway could speak of it, and does not.
type announced struct {
	caddyhttp.ResponseWriterWrapper
	own   *[len(announcements)][]string // nil where the gateway says nothing, as for most keys
	begun bool
}

// announce begins an answer on w, whose header has what the gateway says of the
// key.
func (a *announced) announce(w http.ResponseWriter, d *authn.Decision) {
	a.ResponseWriter = w
	if d.Key.ReplacedBy == "" && !expiresSoon(d.Key, d.At) {
		return
	}
	header := w.Header()
	a.own = new([len(announcements)][]string)
	for i, name := range announcements {
		a.own[i] = header[name]
	}
}

// assert puts the gateway's word in the place of any other.
func (a *announced) assert() {
	header := a.Header()
	undeclare(header)
	if a.own == nil {
		return
	}
	for i, name := range announcements {
		if a.own[i] != nil {
			header[name] = a.own[i]
		}
	}
}

// WriteHeader begins the answer, or sends one before it (RFC 9110, section 15.2).
func (a *announced) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		a.inform(status)
		return
	}
	if !a.begun {
		a.assert()
		a.begun = true
	}
	a.ResponseWriterWrapper.WriteHeader(status)
}

// inform sends an informational response without any announcements, the upstream's
// or the gateway's: they belong to the final answer, and are kept for it.
func (a *announced) inform(status int) {
	header := a.Header()
	undeclare(header)
	var kept [len(announcements)][]string
	for i, name := range announcements {
		kept[i] = header[name]
		delete(header, name)
	}
	a.ResponseWriterWrapper.WriteHeader(status)
	for i, name := range announcements {
		if kept[i] != nil {
			header[name] = kept[i]
		}
	}
}

func (a *announced) begin() {
	if !a.begun {
		a.WriteHeader(http.StatusOK)
	}
}

func (a *announced) Write(b []byte) (int, error) {
	a.begin()
	return a.ResponseWriter.Write(b)
}

// ReadFrom is what io.Copy calls in place of Write.
func (a *announced) ReadFrom(from io.Reader) (int64, error) {
	a.begin()
	return a.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError is what http.ResponseController calls, and begins the answer too.
func (a *announced) FlushError() error {
	a.begin()
	return http.NewResponseController(a.ResponseWriter).Flush()
}
