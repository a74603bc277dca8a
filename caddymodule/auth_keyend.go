package caddymodule

import (
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/authn"
)

// The headers that tell a client when its key ends.
const (
	expiresHeader     = "X-API-Key-Expires"
	deprecationHeader = "Deprecation" // RFC 9745
	sunsetHeader      = "Sunset"      // RFC 8594
)

// keyEndHeaders are their canonical names. Each has at most one value, unlike
// RateLimit, which is a list that several servers may add to.
var keyEndHeaders = [...]string{http.CanonicalHeaderKey(expiresHeader), deprecationHeader, sunsetHeader}

// expiryNotice is how long before it expires a key is said to expire.
const expiryNotice = 14 * 24 * time.Hour

// setKeyEndHeaders tells the client of an active key when it ends. Every response
// says that the key was replaced; those from an upstream also say that it expires
// soon.
func setKeyEndHeaders(header http.Header, d *authn.Decision, fromUpstream bool) {
	if d.Key == nil || d.Key.Status(d.At) != apikey.Active {
		return
	}
	if d.Key.Replaced {
		setDeprecationHeaders(header, d.Key)
	}
	if fromUpstream && expiresSoon(d.Key, d.At) {
		header.Set(expiresHeader, d.Key.ExpiresAt.Time().Format(time.RFC3339))
	}
}

// setDeprecationHeaders says since when a key has a replacement, and when it will
// be revoked.
func setDeprecationHeaders(header http.Header, key *apikey.Grant) {
	rare := key.Rare()
	header.Set(deprecationHeader, "@"+strconv.FormatInt(rare.ReplacedAt.Time().Unix(), 10))
	if rare.RevokesAt != 0 {
		header.Set(sunsetHeader, rare.RevokesAt.Time().Format(http.TimeFormat))
	}
}

func expiresSoon(key *apikey.Grant, now time.Time) bool {
	return key.ExpiresAt.Time().Sub(now) <= expiryNotice
}

// removeKeyEndHeaders takes back what was said about a key's end.
func removeKeyEndHeaders(header http.Header) {
	for _, name := range keyEndHeaders {
		delete(header, name)
	}
}

// response is the response to a request that passed. If the gateway has said when
// the key ends, an upstream that says so about something else would add its value,
// and a client could not tell whose is whose: the gateway's value replaces it.
// No trailer says when a key ends.
type response struct {
	caddyhttp.ResponseWriterWrapper
	own   *[len(keyEndHeaders)][]string // the gateway's values; nil if it says nothing, as for most keys
	begun bool
}

// begin makes a response on w, whose header has the gateway's values.
func (s *response) begin(w http.ResponseWriter, d *authn.Decision) {
	s.ResponseWriter = w
	if !d.Key.Replaced && !expiresSoon(d.Key, d.At) {
		return
	}
	header := w.Header()
	s.own = new([len(keyEndHeaders)][]string)
	for i, name := range keyEndHeaders {
		s.own[i] = header[name]
	}
}

// removeKeyEndHeaders takes back the gateway's values, and leaves others.
func (s *response) removeKeyEndHeaders(header http.Header) {
	if s.own == nil {
		return
	}
	for i, name := range keyEndHeaders {
		if s.own[i] != nil {
			delete(header, name)
		}
	}
	s.own = nil
}

// WriteHeader begins the response, or sends an informational one before it (RFC
// 9110, section 15.2).
func (s *response) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		s.writeInformational(status)
		return
	}
	if !s.begun {
		s.restoreOwn()
		s.begun = true
	}
	s.ResponseWriterWrapper.WriteHeader(status)
}

// restoreOwn replaces the upstream's values by the gateway's.
func (s *response) restoreOwn() {
	header := s.Header()
	undeclareTrailers(header)
	if s.own == nil {
		return
	}
	for i, name := range keyEndHeaders {
		if s.own[i] != nil {
			header[name] = s.own[i]
		}
	}
}

// writeInformational sends an informational response without any of the headers,
// the upstream's or the gateway's: they belong to the final response, and are
// saved for it.
func (s *response) writeInformational(status int) {
	header := s.Header()
	undeclareTrailers(header)
	var saved [len(keyEndHeaders)][]string
	for i, name := range keyEndHeaders {
		saved[i] = header[name]
		delete(header, name)
	}
	s.ResponseWriterWrapper.WriteHeader(status)
	for i, name := range keyEndHeaders {
		if saved[i] != nil {
			header[name] = saved[i]
		}
	}
}

func (s *response) ensureBegun() {
	if !s.begun {
		s.WriteHeader(http.StatusOK)
	}
}

func (s *response) Write(b []byte) (int, error) {
	s.ensureBegun()
	return s.ResponseWriter.Write(b)
}

// ReadFrom is what io.Copy calls instead of Write.
func (s *response) ReadFrom(from io.Reader) (int64, error) {
	s.ensureBegun()
	return s.ResponseWriterWrapper.ReadFrom(from)
}

// FlushError is what http.ResponseController calls. It begins the response too.
func (s *response) FlushError() error {
	s.ensureBegun()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

// undeclareTrailers removes the headers from the names that a response declares as
// its trailers: net/http would send the gateway's own value at the end instead.
func undeclareTrailers(header http.Header) {
	declared := header["Trailer"]
	if len(declared) == 0 {
		return
	}
	var kept []string
	for _, value := range declared {
		for name := range strings.SplitSeq(value, ",") {
			name = textproto.TrimString(name)
			if name != "" && !isKeyEndHeader(name) {
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

func isKeyEndHeader(name string) bool {
	for _, header := range keyEndHeaders {
		if strings.EqualFold(name, header) {
			return true
		}
	}
	return false
}

// keyEndTrailers are the headers as undeclared trailers.
var keyEndTrailers = func() (names [len(keyEndHeaders)]string) {
	for i, name := range keyEndHeaders {
		names[i] = http.TrailerPrefix + name
	}
	return names
}()

// removeKeyEndTrailers removes the headers from the trailers. The handlers have
// returned, so all trailers are in the header, and net/http has sent none yet.
func removeKeyEndTrailers(header http.Header) {
	for _, name := range keyEndTrailers {
		delete(header, name)
	}
}
