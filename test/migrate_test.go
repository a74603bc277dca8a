package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestMigrate_commands runs every block of shell of docs/migrate.md, against the gateway
// that it configures. The other systems are stood in for by the answers that they
// document.
func TestMigrate_commands(t *testing.T) {
	t.Parallel()
	testenv.Tool(t, "jq")
	testenv.Tool(t, "curl")
	s := newServer(t)
	socket := filepath.Join(s.Dir, "admin.sock")
	s.Run(strings.NewReplacer(
		"admin {{.Admin}}", "admin unix/"+socket, "api_keys {", "log {\n\t\tformat lazy\n\t}\n\tapi_keys {\n\t\tforeign_tokens accept",
		"\tdebug\n", "", "\tlog\n", "\tlog {\n\t\tformat lazy json\n\t}\n", "api_key_auth", "api_key_auth {\n\t\ttoken_header X-API-Key\n\t}",
	).Replace(httpOnly(gatewayConfig)))
	s.awaitSocket(socket)

	const hash = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /tyk/keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":["%s"]}`, hash) })
	mux.HandleFunc("GET /tyk/keys/{hash}", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"alias":"Portal key","org_id":"tyk-customer","expires":0,"rate":1000,"per":60}`)
	})
	mux.HandleFunc("GET /v1/accounts/{account}/key-buckets/{bucket}/consumers", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"data":[{"name":"zuplo-customer","apiKeys":[{"key":"zpka_8d1f0c3b5a7e4f6d9c2b_1a2b3c4d","expiresOn":null},{"key":"zpka_0a1b2c3d4e5f6a7b8c9d_5e6f7a8b","expiresOn":"2099-01-01T00:00:00Z"}]}]}`)
	})
	others := httptest.NewServer(mux)
	t.Cleanup(others.Close)
	work, programs := filepath.Join(s.Dir, "work"), filepath.Join(s.Dir, "bin")
	must(t, os.Mkdir(work, 0o700))
	must(t, os.Mkdir(programs, 0o700))
	must(t, os.Symlink(binary, filepath.Join(programs, "caddy")))
	must(t, os.WriteFile(filepath.Join(programs, "deck"), []byte("#!/bin/sh\ncat > \"$4\" <<'YAML'\n"+
		"_format_version: \"3.0\"\nconsumers:\n- username: kong-customer\n  keyauth_credentials:\n  - key: kong-token-0123456789abcdef\nYAML\n"), 0o700))
	must(t, os.WriteFile(filepath.Join(work, "unkey.json"), []byte(`[{"hash":"eW7lRqVNwNwrmEZ6vkT2bR2a3V0vR9tUyFZ3lJgY0uk=","name":"Zapier production","externalId":"unkey-customer"}]`), 0o600))

	text := strings.ReplaceAll(documents(t)["docs/migrate.md"], "/run/caddy-api-keys/admin.sock", socket)
	out := runBlocks(t, text, work, socket, "PATH="+programs+":"+os.Getenv("PATH"), "CADDY_API_KEYS_ADDRESS=unix/"+socket,
		"TYK_URL="+others.URL, "TYK_SECRET=x", "ZUPLO_URL="+others.URL, "ZUPLO_API_KEY=x", "ZUPLO_ACCOUNT=a", "ZUPLO_BUCKET=b",
		"API_URL=http://"+s.Plain, "OLD_TOKEN=kong-token-0123456789abcdef")
	for _, want := range []string{"tyk-customer\t", "zuplo-customer\t", "unkey-customer\t", "kong-customer\t", "acme\t", "\n200\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("got no %q in:\n%s", want, out)
		}
	}
}
