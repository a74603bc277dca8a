package test

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// TestImport_whileInputPauses verifies that each line is answered before the next is sent, on
// Caddy's admin endpoint, and at a mount behind a handler that compresses, over every version
// of HTTP.
func TestImport_whileInputPauses(t *testing.T) {
	t.Parallel()
	s := startRaced(t, strings.Replace(gatewayConfig, "\tapi_key_auth\n", `	encode
	handle /settings/* {
		api_key_admin {
			base_path /settings
			trust_upstream_auth
		}
	}
`, 1))
	endpoint := gatewaytest.Client{Name: "admin endpoint", Base: "http://" + s.Admin + "/api-keys", Client: http.DefaultClient}
	for i, c := range append(s.Clients(t), endpoint) {
		t.Run(c.Name, func(t *testing.T) {
			if c.Name != endpoint.Name {
				c.Base += "/settings"
			}
			reader, writer := io.Pipe()
			encoder := json.NewEncoder(writer)
			send := func(n int) {
				token := fmt.Sprintf("agk_%d_%d", i, n)
				if err := encoder.Encode(client.ImportLine{
					WorkspaceID: "acme", Name: "Key " + token, Preset: client.ReadOnly, TokenSHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(token))),
				}); err != nil {
					t.Error(err)
				}
			}
			go send(0) // a handler that compresses holds the header back until there is an answer
			request, err := http.NewRequest("POST", c.Base+"/import", reader)
			must(t, err)
			request.Header.Set("Content-Type", "application/x-ndjson")
			response, err := c.Do(request)
			must(t, err)
			defer response.Body.Close()
			if response.StatusCode != http.StatusOK {
				t.Fatalf("got status %d, want 200", response.StatusCode)
			}
			answers := bufio.NewScanner(response.Body)
			for n := range 3 {
				if n > 0 {
					send(n)
				}
				if !answers.Scan() || !strings.Contains(answers.Text(), fmt.Sprintf(`{"line":%d,"key_id":"key_`, n+1)) {
					t.Fatalf("line %d: got %q (%v), want it imported", n+1, answers.Text(), answers.Err())
				}
			}
			must(t, writer.Close())
			if !answers.Scan() || answers.Text() != `{"imported":3,"unchanged":0,"refused":0}` {
				t.Errorf("got %q (%v), want the summary", answers.Text(), answers.Err())
			}
		})
	}
}
