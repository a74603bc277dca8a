package test

import (
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/internal/testenv"
)

// TestNodeFetch_adminEndpoint verifies what the documentation says of Node's fetch and
// Caddy's own admin endpoint.
func TestNodeFetch_adminEndpoint(t *testing.T) {
	t.Parallel()
	node := testenv.Tool(t, "node")
	s := start(t, httpOnly(gatewayConfig))
	endpoint := "http://" + s.Admin
	tests := []struct{ name, headers, want string }{
		{"without an origin", "{}", "403 client is not allowed to access from origin ''"},
		{"with its own origin", `{Origin: "` + endpoint + `"}`, `200 {"keys":[]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			script := `const r = await fetch("` + endpoint + `/api-keys/workspaces/acme/keys", {headers: ` + test.headers + `});
				console.log(r.status, await r.text())`
			got := output(t, ".", nil, node, "--input-type=module", "--eval", script)
			status, message, _ := strings.Cut(test.want, " ")
			if !strings.HasPrefix(got, status) || !strings.Contains(got, message) {
				t.Errorf("got %q, want %q in it", got, test.want)
			}
		})
	}
}
