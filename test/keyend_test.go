package test

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// TestKeyEndHeaders checks that the headers about a key's end have the gateway's
// values alone, if the gateway sets them: an upstream may have deprecations of its own.
func TestKeyEndHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("rate_limit read 1000 1m"))
	s.Upstream.SetFields("Deprecation: @1\r\nSunset: Thu, 01 Jan 1970 00:00:01 GMT\r\nX-API-Key-Expires: never\r\n" +
		"RateLimit: \"theirs\";r=1\r\n")
	week, day := "7d", "24h"
	made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Zapier production", Preset: "read_only", ExpiresIn: &week})
	must(t, err)
	rotated, err := s.Keys().RotateKey(t.Context(), "acme", made.Key.ID, client.RotateRequest{RevokeOldIn: &day})
	must(t, err)
	_, quiet := s.Create("acme", "Nothing to say", "full_access")

	for _, c := range s.Clients(t) {
		t.Run(c.Name, func(t *testing.T) {
			get := func(method, token string) http.Header {
				t.Helper()
				return c.Send(t, method, "/public/v1/contacts", nil, "Authorization", "Bearer "+token).Header
			}
			want := map[string]string{
				"Deprecation":       "@" + seconds(rotated.Key.CreatedAt),
				"Sunset":            rotated.Replaced.RevokesAt.UTC().Format(http.TimeFormat),
				"X-Api-Key-Expires": made.Key.ExpiresAt.Format(time.RFC3339),
			}
			got := get("GET", made.Token)
			for name, value := range want {
				if values := got.Values(name); len(values) != 1 || values[0] != value {
					t.Errorf("got %s %q, want %q alone", name, values, value)
				}
			}
			// Of a key that has nothing to say, the upstream's word stays.
			got = get("GET", quiet)
			for name, value := range map[string]string{
				"Deprecation": "@1", "Sunset": "Thu, 01 Jan 1970 00:00:01 GMT", "X-Api-Key-Expires": "never",
			} {
				if values := got.Values(name); len(values) != 1 || values[0] != value {
					t.Errorf("got %s %q, want the upstream's %q", name, values, value)
				}
			}
			// Limits are a list (RFC 9651), and each has its own.
			if values := got.Values("RateLimit"); len(values) != 2 {
				t.Errorf("got RateLimit %q, want the gateway's and the upstream's", values)
			}

			// A refusal of a key that keeps working says the same.
			if values := get("POST", made.Token).Values("Deprecation"); len(values) != 1 {
				t.Errorf("got Deprecation %q of a refused write, want one", values)
			}
		})
	}
}

// createEnding creates a key that expires within a week and has been rotated, and
// returns its token. The gateway says so in every header about a key's end.
func createEnding(t *testing.T, s *server) (token string) {
	t.Helper()
	week, day := "7d", "24h"
	made, err := s.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Zapier production", Preset: "read_only", ExpiresIn: &week})
	must(t, err)
	_, err = s.Keys().RotateKey(t.Context(), "acme", made.Key.ID, client.RotateRequest{RevokeOldIn: &day})
	must(t, err)
	return made.Token
}

func seconds(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }

// TestKeyEndHeaders_informational has an upstream speak of the key's end in a 103
// (RFC 8297). The client gets the rest of it, and the final answer as ever: the
// gateway's word, or the upstream's where the gateway says nothing.
func TestKeyEndHeaders_informational(t *testing.T) {
	t.Parallel()
	s := start(t, gatewayConfig)
	const end = "Deprecation: @1\r\nSunset: never\r\nX-API-Key-Expires: never\r\n"
	s.Upstream.AnswerWith("HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n" + end + "\r\n" +
		"HTTP/1.1 200 OK\r\n" + end + "Content-Length: 0\r\n\r\n")
	ending := createEnding(t, s)
	_, quiet := s.Create("acme", "Nothing to say", "full_access")
	for name, test := range map[string]struct {
		token  string
		theirs bool // the final answer has the upstream's word
	}{"the gateway says something": {ending, false}, "it says nothing": {quiet, true}} {
		t.Run(name, func(t *testing.T) {
			var hints textproto.MIMEHeader
			trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, header textproto.MIMEHeader) error {
				hints = header
				return nil
			}}
			request, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", "http://"+s.Plain+contacts, nil)
			must(t, err)
			request.Header.Set("Authorization", "Bearer "+test.token)
			response, err := http.DefaultClient.Do(request)
			must(t, err)
			must(t, response.Body.Close())
			if got := hints.Get("Link"); got != "</style.css>" {
				t.Errorf("got Link %q in the 103, want the upstream's", got)
			}
			for _, name := range trailerNames {
				if got := hints.Values(name); got != nil {
					t.Errorf("got %s %q in the 103, want none", name, got)
				}
				got := response.Header.Values(name)
				if len(got) != 1 || (got[0] == "never" || got[0] == "@1") != test.theirs {
					t.Errorf("got %s %q in the final answer, want one value, the upstream's: %t", name, got, test.theirs)
				}
			}
		})
	}
}
