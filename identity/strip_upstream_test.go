package identity_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"testing"

	"github.com/agiled/caddy-api-keys/identity"
)

// Each attempt is judged by what an upstream receives from a proxy that first
// strips the request and then sets its own headers.
func TestHeaders_Strip_upstream(t *testing.T) {
	type received struct{ header, trailer http.Header }
	arrived := make(chan received, 1)
	upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- received{r.Header, r.Trailer}
	}))
	defer upstream.Close()
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(target) }}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r = r.WithContext(r.Context()) // as Caddy does: net/http adds trailers to the original
		ours.Strip(r)
		r.Header.Set(identity.WorkspaceHeader, "acme")
		proxy.ServeHTTP(w, r)
	}))
	defer gateway.Close()

	const get = "GET / HTTP/1.1\r\nHost: x\r\n"
	const post = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
	const body = "3\r\nabc\r\n0\r\n"
	for name, request := range map[string]string{
		"honest":                     get + "\r\n",
		"field":                      get + "X-Workspace-ID: evil\r\n\r\n",
		"field, odd case":            get + "x-wOrkspace-iD: evil\r\n\r\n",
		"field, repeated":            get + "X-Workspace-ID: evil\r\nX-Workspace-ID: worse\r\n\r\n",
		"field, empty":               get + "X-Workspace-ID:\r\n\r\n",
		"field, underscores":         get + "X_Workspace_ID: evil\r\n\r\n",
		"field, dots":                get + "X.Workspace.ID: evil\r\n\r\n",
		"field, other marks":         get + "X~Workspace!ID: evil\r\n\r\n",
		"Connection":                 get + "Connection: X-Workspace-ID\r\n\r\n",
		"Connection, lines":          get + "Connection: close\r\nConnection: X-Workspace-ID\r\n\r\n",
		"Connection, with Upgrade":   get + "Upgrade: x\r\nConnection: Upgrade, x-workspace-id\r\n\r\n",
		"Connection, odd case":       get + "cOnNeCtIoN: \tx-wOrkspace-iD\t,\r\n\r\n",
		"trailer, declared":          post + "Trailer: X-Workspace-ID\r\n\r\n" + body + "X-Workspace-ID: evil\r\n\r\n",
		"trailer, undeclared":        post + "\r\n" + body + "X-Workspace-ID: evil\r\n\r\n",
		"trailer, declared as other": post + "Trailer: X-Other\r\n\r\n" + body + "X-Other: a\r\nX_Workspace_ID: evil\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			send(t, gateway.Listener.Addr().String(), request)
			got := <-arrived
			for name, values := range got.header {
				if ours.Match(name) && name != "X-Workspace-Id" {
					t.Errorf("the upstream received %s: %q", name, values)
				}
			}
			if values := got.header["X-Workspace-Id"]; !slices.Equal(values, []string{"acme"}) {
				t.Errorf("the upstream received X-Workspace-ID %q, want acme once", values)
			}
			if len(got.trailer) > 0 {
				t.Errorf("the upstream received trailers: %v", got.trailer)
			}
		})
	}
}

// Undeclared trailers never appear in a copy of the request, even after the body.
func TestHeaders_Strip_trailersAfterTheBody(t *testing.T) {
	left := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r = r.WithContext(r.Context())
		ours.Strip(r)
		_, _ = io.Copy(io.Discard, r.Body)
		left <- r.Trailer
	}))
	defer server.Close()
	send(t, server.Listener.Addr().String(), "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"+
		"Trailer: X-Workspace-ID\r\n\r\n3\r\nabc\r\n0\r\nX-Workspace-ID: evil\r\nX-API-Key-ID: evil\r\n\r\n")
	if got := <-left; len(got) > 0 {
		t.Errorf("the request has trailers: %v", got)
	}
}

// send sends raw bytes and waits for the start of a response.
func send(t *testing.T, address, request string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 200"))
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatal(err)
	}
	if got, want := string(answer), "HTTP/1.1 200"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
}
