package test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestCredentials_lookalikes sends what a careless reader could take for the
// token: nothing is folded, trimmed or decoded.
func TestCredentials_lookalikes(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	fullWidth := strings.Map(func(r rune) rune { return r + 0xfee0 }, token)
	tests := []struct{ name, value string }{
		{"non-ASCII after it", "Bearer " + token + "\u00e9"},
		{"Latin-1 after it", "Bearer " + token + "\xe9"},
		{"Cyrillic a in the prefix", "Bearer " + strings.Replace(token, "a", "\u0430", 1)},
		{"Cyrillic a instead of a letter", "Bearer \u0430" + token[1:]},
		{"full width", "Bearer " + fullWidth},
		{"full-width underscore", "Bearer " + strings.Replace(token, "_", "\uff3f", 1)},
		{"full-width scheme", "\uff22earer " + token},
		{"Kelvin sign", "Bearer " + strings.Replace(token, "k", "\u212a", 1)},
		{"long s in the scheme", "Bearer\u017f " + token},
		{"zero-width space", "Bearer \u200b" + token},
		{"zero-width joiner within", "Bearer " + token[:20] + "\u200d" + token[20:]},
		{"byte order mark", "Bearer \ufeff" + token},
		{"no-break space", "Bearer\u00a0" + token},
		{"combining accent", "Bearer " + token + "\u0301"},
		{"upper case", "Bearer " + strings.ToUpper(token)},
		{"upper-case prefix", "Bearer AGK_" + token[4:]},
		{"percent-encoded", "Bearer " + strings.Replace(token, "_", "%5F", 1)},
		{"in quotes", `Bearer "` + token + `"`},
		{"with a parameter", "Bearer " + token + ", realm=api"},
		{"as a parameter", "Bearer token=" + token},
		{"without a scheme", token},
		{"with a colon", "Bearer: " + token},
		{"Token", "Token " + token},
		{"a longer scheme", "XBearer " + token},
		{"just too long", "Bearer " + token + "0"},
		{"far too long", "Bearer " + strings.Repeat(token, 200)},
	}
	for _, c := range s.Clients(t) {
		for _, test := range tests {
			t.Run(c.Name+"/"+test.name, func(t *testing.T) {
				s.wantRefused(t, c.Send(t, "GET", contacts, nil, "Authorization", test.value), 401, unauthorized, invalidToken)
			})
		}
	}
}

// TestCredentials_elsewhere puts a good token where it does not belong: where
// proxies log it, browsers keep it, or pages can send it. It counts for nothing.
func TestCredentials_elsewhere(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	tests := []struct {
		name, method, path, body string
		fields                   []string
	}{
		{"query", "GET", "?access_token=" + token, "", nil},
		{"query as api_key", "GET", "?api_key=" + token + "&key=" + token + "&token=" + token, "", nil},
		{"cookie", "GET", "", "", []string{"Cookie", "Authorization=" + token + "; token=" + token}},
		{"form", "POST", "", "access_token=" + token, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"JSON", "POST", "", `{"token":"` + token + `"}`, []string{"Content-Type", "application/json"}},
		{"path", "GET", "/" + token, "", nil},
		{"X-API-Key", "GET", "", "", []string{"X-Api-Key", token}},
		{"X-Auth-Token", "GET", "", "", []string{"X-Auth-Token", token, "X-Access-Token", token, "Api-Key", token}},
		{"X-Authorization", "GET", "", "", []string{"X-Authorization", "Bearer " + token, "X-Forwarded-Authorization", "Bearer " + token}},
		{"Proxy-Authorization", "GET", "", "", []string{"Proxy-Authorization", "Bearer " + token}},
		{"WebSocket subprotocol", "GET", "", "", []string{"Sec-Websocket-Protocol", "bearer, " + token}},
		{"Referer", "GET", "", "", []string{"Referer", "https://example.com/?access_token=" + token}},
	}
	for _, c := range s.Clients(t) {
		for _, test := range tests {
			t.Run(c.Name+"/"+test.name, func(t *testing.T) {
				got := c.Send(t, test.method, contacts+test.path, strings.NewReader(test.body), test.fields...)
				s.wantRefused(t, got, 401, unauthorized, challenge)
				got = c.Send(t, test.method, contacts+test.path, strings.NewReader(test.body), append(test.fields, bearer(gatewaytest.OtherToken(token))...)...)
				s.wantRefused(t, got, 401, unauthorized, invalidToken)
			})
		}
	}
}

// TestCredentials_huge sends a header far over what Caddy takes: it is refused
// before the gateway sees it, and leaves nothing behind in memory.
func TestCredentials_huge(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	huge := strings.Repeat("a", 64<<10)
	t.Run("HTTP/1.1", func(t *testing.T) {
		request := "GET " + contacts + " HTTP/1.1\r\nHost: " + s.Plain + "\r\nAuthorization: Bearer " + huge + "\r\n\r\n"
		before := s.memory(t)
		for range 300 {
			if got := rawAll(t, s.Plain, request); len(got) > 1 || len(got) == 1 && got[0] != 431 {
				t.Fatalf("got the statuses %v, want 431", got)
			}
		}
		s.wantNothing(t)
		if grown := s.memory(t) - before; grown > 32<<20 {
			t.Errorf("got %d MB more memory in use, want hardly any", grown>>20)
		}
	})
	t.Run("HTTP/2", func(t *testing.T) {
		f := dialFrames(t, s.Secure)
		got, err := f.answer(f.open(true, ":method", "GET", ":scheme", "https", ":path", contacts, ":authority", s.Secure, "authorization", "Bearer "+huge))
		if err == nil && got.Status != 431 {
			t.Errorf("got status %d, want 431 or no answer", got.Status)
		}
		if limit := f.settings[http2.SettingMaxHeaderListSize]; limit == 0 || limit > 32<<10 {
			t.Errorf("got a header limit of %d, want about 16 KiB", limit)
		}
		s.wantNothing(t)
	})
	t.Run("HTTP/3", func(t *testing.T) {
		stream := dialStream(t, s)
		// The server may have closed the connection before all of it is sent.
		_ = stream.SendRequestHeader(&http.Request{
			Method: "GET", Host: s.Secure, URL: &url.URL{Scheme: "https", Host: s.Secure, Path: contacts},
			Header: http.Header{"Authorization": {"Bearer " + huge}},
		})
		if response, err := stream.ReadResponse(); err == nil && response.StatusCode != 431 {
			t.Errorf("got status %d, want 431 or no answer", response.StatusCode)
		}
		s.wantNothing(t)
	})
}

// memory returns how many bytes the server has asked its machine for.
func (s *server) memory(t *testing.T) int {
	t.Helper()
	response, err := http.Get("http://" + s.Admin + "/metrics")
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(t, err)
	_, rest, found := strings.Cut(string(text), "\ngo_memstats_sys_bytes ")
	var bytes float64
	if _, err := fmt.Sscan(rest, &bytes); !found || err != nil {
		t.Fatalf("got no go_memstats_sys_bytes in the metrics: %v", err)
	}
	return int(bytes)
}
