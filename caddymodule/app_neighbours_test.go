package caddymodule

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestNeighbours checks which handlers around an api_key_auth cause a warning on
// load.
func TestNeighbours(t *testing.T) {
	const (
		copies  = "copies the client's "
		changes = "changes the method that was checked"
		answers = "answers every request"
	)
	tests := []struct {
		name, site string
		want       []string // prefixes of the warnings
	}{
		{"nothing", `api_key_auth`, nil},
		{"vars", "vars token {http.request.header.Authorization}\napi_key_auth", []string{"vars before api_key_auth " + copies + "Authorization"}},
		{"vars in a sentence", "vars token \"was {header.authorization}\"\napi_key_auth", []string{"vars before api_key_auth " + copies + "authorization"}},
		{"request_header", "route {\nrequest_header X-Was {header.X-Workspace_ID}\napi_key_auth\n}", []string{"request_header before api_key_auth " + copies + "X-Workspace_ID"}},
		{"a configured header", "route {\nrequest_header X-Was {header.X-Tenant}\napi_key_auth {\nworkspace_header X-Tenant\n}\n}", []string{"request_header before api_key_auth " + copies + "X-Tenant"}},
		{"another header", "route {\nrequest_header X-Was {header.X-Request-ID}\napi_key_auth\n}", nil},
		{"after it", "route {\napi_key_auth\nrequest_header X-Was {header.X-Workspace-ID}\n}", nil},
		{"on another path", "handle /a/* {\nrequest_header X-Was {header.Authorization}\n}\nhandle /b/* {\napi_key_auth\n}", nil},
		{"for a site within", "request_header X-Was {header.Authorization}\nhandle /b/* {\napi_key_auth\n}", []string{"request_header before api_key_auth " + copies}},
		{"method after it", "route {\napi_key_auth\nmethod POST\n}", []string{"method POST after api_key_auth " + changes}},
		{"method before it", "route {\nmethod POST\napi_key_auth\n}", nil},
		{"method of the proxy", "api_key_auth\nreverse_proxy 127.0.0.1:1 {\nmethod {vars.m}\n}", []string{"method of reverse_proxy {http.vars.m} after api_key_auth " + changes}},
		{"a proxy on another path", "handle /a/* {\napi_key_auth\n}\nhandle /b/* {\nreverse_proxy 127.0.0.1:1 {\nmethod POST\n}\n}", nil},
		{"error routes that proxy", "api_key_auth\nhandle_errors {\nreverse_proxy 127.0.0.1:1\n}", []string{"reverse_proxy in handle_errors has no api_key_auth"}},
		{"error routes that check and proxy", "api_key_auth\nhandle_errors {\nroute {\napi_key_auth\nreverse_proxy 127.0.0.1:1\n}\n}", nil},
		{"error routes that respond", "api_key_auth\nhandle_errors {\nrespond oops\n}", nil},
		{"error routes of a part", "handle /a/* {\napi_key_auth\n}\nhandle_errors {\nreverse_proxy 127.0.0.1:1\n}", []string{"reverse_proxy in handle_errors has no api_key_auth"}},
		{"error routes of a site without a check", "handle_errors {\nreverse_proxy 127.0.0.1:1\n}", nil},
		{"a proxy first", "route {\nreverse_proxy 127.0.0.1:1\napi_key_auth\n}", []string{"reverse_proxy before api_key_auth " + answers}},
		{"a proxy of all first, in a block", "route {\nhandle {\nreverse_proxy 127.0.0.1:1\n}\nhandle /a/* {\napi_key_auth\n}\n}", []string{"reverse_proxy before api_key_auth " + answers}},
		{"a response first", "route {\nrespond ok\napi_key_auth\n}", []string{"respond or redir before api_key_auth " + answers}},
		{"early hints first", "route {\nrespond 103\napi_key_auth\n}", nil},
		{"files first", "route {\nfile_server\nhandle {\napi_key_auth\n}\n}", []string{"file_server before api_key_auth " + answers}},
		{"files first, or what follows", "route {\nfile_server {\npass_thru\n}\napi_key_auth\n}", nil},
		{"an error first", "route {\nerror 404\napi_key_auth\n}", []string{"error before api_key_auth " + answers}},
		{"a proxy of some first", "route {\nreverse_proxy /a/* 127.0.0.1:1\napi_key_auth\n}", nil},
		{"a proxy that lets pass first", "route {\nforward_auth 127.0.0.1:1 {\nuri /\n}\napi_key_auth\n}", nil},
		{"a proxy for the rest first", "route {\nhandle /a/* {\nvars a b\n}\nhandle {\nreverse_proxy 127.0.0.1:1\n}\napi_key_auth\n}", nil},
		{"one of each", "route {\nrequest_header X-Was {header.Authorization}\napi_key_auth\nmethod PUT\n}", []string{"method PUT", "request_header before"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.site+"\nrespond ok")
			if got := s.warned(); !slices.EqualFunc(got, test.want, strings.HasPrefix) {
				t.Errorf("got the warnings %q, want %q", got, test.want)
			}
		})
	}
}

// warned returns the warnings about handlers around api_key_auth.
func (s *server) warned() (all []string) {
	s.T.Helper()
	for line := range bytes.Lines(s.logged()) {
		var fields struct{ Level, Msg string }
		if err := json.Unmarshal(line, &fields); err != nil {
			s.T.Fatal(err)
		}
		if fields.Level == "warn" && bytes.Contains(line, []byte("api_key_auth")) {
			all = append(all, fields.Msg)
		}
	}
	return all
}
