package test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// uploaders are clients of which most send a whole body before they read.
var uploaders = []struct {
	name, tool string
	args       func(t *testing.T) []string
	sizes      []int
}{
	{"Python's urllib", "python3", uploadScript("testdata/clients/upload.py"), uploadSizes},
	{"Node's fetch", "node", uploadScript("testdata/clients/upload.mjs", "fetch"), uploadSizes},
	{"Node's http", "node", uploadScript("testdata/clients/upload.mjs", "http"), uploadSizes},
	{"Java's HttpClient", "java", uploadJava("HTTP_1_1"), uploadSizes},
	// Beyond the window of a stream it waits for ever, unless all is read in time.
	{"Java's HttpClient, HTTP/2", "java", uploadJava("HTTP_2"), uploadSizes[:3]},
}

func uploadScript(args ...string) func(*testing.T) []string {
	return func(*testing.T) []string { return args }
}

func uploadJava(version string) func(*testing.T) []string {
	return func(t *testing.T) []string {
		return append(javaClient(t, "Upload", "-Djdk.internal.httpclient.disableHostnameVerification=true"), version)
	}
}

// uploadSizes are those of bodies that are refused: one that comes with the head
// of the request, two around the 256 KiB that are read, and others that no buffer
// holds.
var uploadSizes = []int{1, 200 << 10, 300 << 10, 3 << 20, 30 << 20}

// A refusedUpload is a token that may not write, and how it is told so.
type refusedUpload struct {
	token  string
	status int
	body   string
}

func (r refusedUpload) fields() []string {
	if r.token == "" {
		return nil
	}
	return bearer(r.token)
}

// refusedUploads returns a request for each status that refuses an upload. The
// configuration must allow one write.
func refusedUploads(t *testing.T, s *server) []refusedUpload {
	t.Helper()
	_, readOnly := s.Create("acme", "Finance export", "read_only")
	_, spent := s.Create("acme", "Zapier production", "full_access")
	s.wantPassed(t, s.Clients(t)[0].Send(t, "POST", contacts, nil, bearer(spent)...))
	return []refusedUpload{{"", 401, unauthorized}, {readOnly, 403, forbidden}, {spent, 429, tooMany}}
}

// TestRefusedUpload_programs verifies that clients read why their upload was refused, and
// are never reset, whatever they send.
func TestRefusedUpload_programs(t *testing.T) {
	t.Parallel()
	s := start(t, withOptions("rate_limit write 1 1h"))
	refused := refusedUploads(t, s)
	var tokens []string
	for _, r := range refused {
		tokens = append(tokens, r.token)
	}
	for _, u := range uploaders {
		t.Run(u.name, func(t *testing.T) {
			t.Parallel()
			tool := testenv.Tool(t, u.tool)
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			for _, base := range []string{"http://" + s.Plain, "https://" + s.Secure} {
				args := slices.Concat(u.args(t), []string{base + contacts, strings.Join(tokens, ",")})
				for _, size := range u.sizes {
					args = append(args, fmt.Sprint(size))
				}
				cmd := exec.CommandContext(ctx, tool, args...)
				cmd.Env = append(os.Environ(), "NODE_TLS_REJECT_UNAUTHORIZED=0", "NODE_NO_WARNINGS=1")
				cmd.Stderr = new(strings.Builder)
				out, err := cmd.Output()
				want := ""
				for _, r := range refused {
					want += strings.Repeat(fmt.Sprintf("%d %s\n", r.status, r.body), len(u.sizes))
				}
				if err != nil || string(out) != want {
					t.Errorf("%s: got (%v)\n%s%s, want\n%s", base, err, out, cmd.Stderr, want)
				}
			}
		})
	}
}

// TestRefusedUpload_versions holds the same of curl and of Go's client, in every
// version of HTTP that they have.
func TestRefusedUpload_versions(t *testing.T) {
	t.Parallel()
	curl := testenv.Tool(t, "curl")
	s := start(t, withOptions("rate_limit write 1 1h"))
	for _, r := range refusedUploads(t, s) {
		for _, size := range uploadSizes {
			body := make([]byte, size)
			for _, c := range s.Clients(t) {
				got := c.Send(t, "POST", contacts, bytes.NewReader(body), r.fields()...)
				if got.Status != r.status || got.Body != r.body {
					t.Errorf("Go over %s, %d bytes: got %d %q, want %d %q", c.Name, size, got.Status, got.Body, r.status, r.body)
				}
			}
			for _, to := range [][]string{{"http://" + s.Plain}, {"https://" + s.Secure, "--http1.1"}, {"https://" + s.Secure, "--http2"}} {
				args := append([]string{"-sSk", "-w", " %{http_code}", "--data-binary", "@-", to[0] + contacts}, to[1:]...)
				if r.token != "" {
					args = append(args, "-H", "Authorization: Bearer "+r.token)
				}
				cmd := exec.CommandContext(t.Context(), curl, args...)
				cmd.Stdin = bytes.NewReader(body)
				out, err := cmd.CombinedOutput()
				if want := fmt.Sprintf("%s %d", r.body, r.status); err != nil || string(out) != want {
					t.Errorf("curl %q, %d bytes: got %q (%v), want %q", to, size, out, err, want)
				}
			}
		}
	}
}

// withAdmin returns a configuration in which the admin API is below /settings.
func withAdmin(config string) string {
	return strings.Replace(config, "\tapi_key_auth\n\treverse_proxy {{.Upstream}}\n", `	handle_path /settings/* {
		api_key_admin {
			token `+adminToken+`
		}
	}
	handle {
		api_key_auth
		reverse_proxy {{.Upstream}}
	}
`, 1)
}

const adminToken = "only-a-test-would-use-this-token"

// TestRefusedUpload_connection verifies that refused uploads of up to 256 KiB, to
// api_key_auth and to both mounts of the admin API, do not cost the connection, and that
// its first request with a good key is answered on it.
func TestRefusedUpload_connection(t *testing.T) {
	t.Parallel()
	s := start(t, withAdmin(gatewayConfig))
	_, token := s.Create("acme", "Warehouse sync", "full_access")
	conn, err := tls.Dial("tcp", s.Secure, gatewaytest.Insecure.Clone())
	must(t, err)
	defer conn.Close()
	reader := bufio.NewReader(conn)
	post := func(path, fields string, size int) *http.Response {
		t.Helper()
		_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %d\r\n\r\n%s", path, s.Secure, fields, size, make([]byte, size))
		must(t, err)
		response, err := http.ReadResponse(reader, nil)
		must(t, err)
		_, err = io.Copy(io.Discard, response.Body)
		must(t, err)
		return response
	}
	for _, size := range []int{1, 200 << 10, 256 << 10} {
		for path, want := range map[string]int{contacts: 401, "/settings/workspaces/acme/keys": 401} {
			if got := post(path, "", size); got.StatusCode != want || got.Close {
				t.Errorf("POST %s with %d bytes: got %d, closing %v, want %d and the connection kept", path, size, got.StatusCode, got.Close, want)
			}
		}
		admin := "Authorization: Bearer " + adminToken + "\r\n"
		if got := post("/settings/workspaces/acme/keys", admin+"Content-Type: application/json\r\n", size); size > 1 && got.StatusCode != 413 || got.Close {
			t.Errorf("creating a key with %d bytes: got %d, closing %v, want 413 and the connection kept", size, got.StatusCode, got.Close)
		}
	}
	if got := post(contacts, "Authorization: Bearer "+token+"\r\n", 5); got.StatusCode != 200 {
		t.Errorf("got %d with a good key on the same connection, want 200", got.StatusCode)
	}
}

// TestRefusedUpload_admin verifies that both mounts of the admin API answer a large upload
// that they refuse.
func TestRefusedUpload_admin(t *testing.T) {
	t.Parallel()
	s := start(t, withAdmin(httpOnly(gatewayConfig)))
	python := testenv.Tool(t, "python3")
	for _, test := range []struct{ url, token, want string }{
		{"http://" + s.Plain + "/settings/workspaces/acme/keys", "", `"code":"unauthorized"`},
		{"http://" + s.Plain + "/settings/workspaces/acme/keys", adminToken, `"code":"body_too_large"`},
		{"http://" + s.Plain + "/settings/nothing", adminToken, `"code":"not_found"`},
		{"http://" + s.Plain + "/settings/", "", `"code":"method_not_allowed"`},
		{"http://" + s.Plain + "/settings/restore", adminToken, `"code":"invalid_backup"`},
		{"http://" + s.Admin + "/api-keys/workspaces/acme/keys", "", `"code":"body_too_large"`},
		{"http://" + s.Admin + "/api-keys/restore", "", `"code":"invalid_backup"`},
	} {
		out, err := exec.CommandContext(t.Context(), python, "testdata/clients/upload.py", test.url, test.token, "30000000").CombinedOutput()
		if err != nil || !strings.Contains(string(out), test.want) {
			t.Errorf("POST %s: got %q (%v), want %s", test.url, out, err, test.want)
		}
	}
}

// TestRefusedUpload_around verifies that the refusal arrives whole from within handlers
// that hold answers back, or compress them, and from error routes.
func TestRefusedUpload_around(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("<p>You need a key.</p>", 200)
	errorRoutes := "\thandle_errors {\n\t\theader Content-Type text/html\n\t\trespond `" + page + "`\n\t}\n"
	python := testenv.Tool(t, "python3")
	for _, test := range []struct{ name, before, after, want string }{
		{"templates", "\ttemplates {\n\t\tmime application/json\n\t}\n", "", "401 " + unauthorized},
		{"intercept", "\tintercept {\n\t\t@refused status 401\n\t\thandle_response @refused {\n\t\t\trespond Intercepted 401\n\t\t}\n\t}\n", "", "401 Intercepted"},
		{"encode", "\tencode gzip\n", "", "401 " + unauthorized},
		{"handle_errors", "", errorRoutes, "401 " + page},
		{"encode and handle_errors", "\tencode gzip\n", errorRoutes, "401 " + page},
		{"request_body", "\trequest_body {\n\t\tmax_size 40MB\n\t}\n", "", "401 " + unauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			config := strings.Replace(httpOnly(gatewayConfig), "\tapi_key_auth\n", "\troute {\n"+test.before+"\tapi_key_auth\n\t}\n", 1)
			config = strings.TrimSuffix(config, "}\n") + test.after + "}\n"
			s := start(t, config)
			out, err := exec.CommandContext(t.Context(), python, "testdata/clients/upload.py", "http://"+s.Plain+contacts, "", "1", "200000", "300000").CombinedOutput()
			if want := strings.Repeat(test.want+"\n", 3); err != nil || string(out) != want {
				t.Errorf("got (%v)\n%s, want\n%s", err, out, want)
			}
			// A client that takes compressed answers.
			response, err := http.Post("http://"+s.Plain+contacts, "", bytes.NewReader(make([]byte, 300000)))
			must(t, err)
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if got := fmt.Sprintf("%d %s", response.StatusCode, bytes.TrimSpace(body)); err != nil || got != test.want {
				t.Errorf("Go's client got %.60q (%v), want %.60q", got, err, test.want)
			}
		})
	}
}
