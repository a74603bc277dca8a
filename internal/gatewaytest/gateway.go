package gatewaytest

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
)

// Insecure accepts the certificate of Caddy's internal authority.
var Insecure = &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}

// Gateway is a Caddy with its own directory, upstream and addresses. It does not run by
// itself: see Process.
type Gateway struct {
	T   *testing.T
	Dir string

	// Available in configurations, as {{.Admin}} and so on.
	Admin    string    // address of the admin endpoint
	Plain    string    // address for plain HTTP
	Secure   string    // address for HTTPS, HTTP/2 and HTTP/3
	Upstream *Upstream // its address
	Store    string    // directory of the key store
}

// New prepares a gateway without running it.
func New(t *testing.T) *Gateway {
	t.Helper()
	dir := t.TempDir()
	return &Gateway{
		T: t, Dir: dir, Store: filepath.Join(dir, "keys"), Upstream: NewUpstream(t),
		Admin: Address(t), Plain: localhost(Address(t)), Secure: localhost(Address(t)),
	}
}

func localhost(address string) string { return strings.Replace(address, "127.0.0.1", "localhost", 1) }

// Port returns the port for plain HTTP.
func (g *Gateway) Port() string {
	_, port, _ := net.SplitHostPort(g.Plain)
	return port
}

// Render returns a configuration with the gateway's addresses and paths filled in.
func (g *Gateway) Render(config string) []byte {
	g.T.Helper()
	var text bytes.Buffer
	if err := template.Must(template.New("config").Parse(config)).Execute(&text, g); err != nil {
		g.T.Fatal(err)
	}
	return text.Bytes()
}

// Write renders a configuration to a file in the gateway's directory, and returns its
// path.
func (g *Gateway) Write(name, config string) string {
	g.T.Helper()
	path := filepath.Join(g.Dir, name)
	if err := os.WriteFile(path, g.Render(config), 0o600); err != nil {
		g.T.Fatal(err)
	}
	return path
}

// Healthy reports whether the store answers through the admin endpoint.
func (g *Gateway) Healthy() bool {
	response, err := http.Get("http://" + g.Admin + "/api-keys/healthz")
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Await is Await for the gateway's test.
func (g *Gateway) Await(what string, holds func() bool) {
	g.T.Helper()
	Await(g.T, what, holds)
}

// Await polls until a condition holds. It is for conditions that nothing notifies the
// test about. The longer it takes, the more rarely it polls, which takes time from what it
// waits for.
func Await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for begun := time.Now(); !holds(); {
		waited := time.Since(begun)
		if waited > time.Minute {
			t.Fatalf("waited a minute for %s", what)
		}
		time.Sleep(min(5*time.Millisecond+waited/20, 100*time.Millisecond))
	}
}

// Keys returns a client for the admin API on Caddy's endpoint.
func (g *Gateway) Keys() *client.Client {
	return &client.Client{HTTP: http.DefaultClient, BaseURL: "http://" + g.Admin + "/api-keys"}
}

// Create creates a key and returns it with its token.
func (g *Gateway) Create(ws, name, preset string) (client.Key, string) {
	g.T.Helper()
	answer, err := g.Keys().CreateKey(context.Background(), ws, client.CreateRequest{Name: name, Preset: preset})
	if err != nil {
		g.T.Fatalf("creating the key %q: %v", name, err)
	}
	return answer.Key, answer.Token
}

// Revoke revokes a key.
func (g *Gateway) Revoke(key client.Key) {
	g.T.Helper()
	if _, err := g.Keys().RevokeKey(context.Background(), key.WorkspaceID, key.ID, ""); err != nil {
		g.T.Fatalf("revoking %s: %v", key.ID, err)
	}
}

// Post makes a call of the admin API that the client has no method for.
func (g *Gateway) Post(path string) {
	g.T.Helper()
	response, err := http.Post("http://"+g.Admin+"/api-keys"+path, "", nil)
	if err != nil {
		g.T.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		g.T.Fatalf("POST %s: got status %d, want 200", path, response.StatusCode)
	}
}

// CreateExpired creates a key, waits until it has expired, and returns it with its token.
func (g *Gateway) CreateExpired(t *testing.T) (client.Key, string) {
	t.Helper()
	life := "1ms"
	answer, err := g.Keys().CreateKey(t.Context(), "acme", client.CreateRequest{Name: "Short lived job", Preset: "full_access", ExpiresIn: &life})
	if err != nil {
		t.Fatal(err)
	}
	g.Await("the key to expire", func() bool { return time.Now().After(answer.Key.ExpiresAt) })
	return answer.Key, answer.Token
}
