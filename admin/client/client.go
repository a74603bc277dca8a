package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	// EndpointPath is where the API is mounted on Caddy's own admin endpoint.
	EndpointPath = "/api-keys"
	// DefaultBaseURL is the API on Caddy's admin endpoint at its default address.
	DefaultBaseURL = "http://localhost:2019" + EndpointPath
	// DefaultTimeout bounds a call of a [Client] that has no HTTP client of its own.
	DefaultTimeout = 30 * time.Second
)

// maxAnswer bounds the size of a response. The largest, a page of 200 keys, is much
// smaller.
const maxAnswer = 16 << 20

// Client calls the API. The zero value is ready to use.
type Client struct {
	// BaseURL is the address of the mount, such as
	// https://app.example.com/settings/api: an api_key_admin with its base_path, or
	// Caddy's admin endpoint with [EndpointPath]. Default: [DefaultBaseURL].
	BaseURL string
	// Token is the admin token of the mount. It is sent with every call but
	// ReadFeed. Leave it empty if the mount requires none, like Caddy's admin
	// endpoint.
	Token string
	// HTTP sends the requests: set it to dial a Unix socket, or to present a
	// certificate. Its Timeout bounds every call but Backup, Restore, Import and
	// Doctor, which take as long as they need and end with their context. Its
	// CheckRedirect is not used: the API never redirects, and the client follows no
	// redirect, which could take a token elsewhere. Default: Go's default transport,
	// and [DefaultTimeout].
	HTTP *http.Client
}

var defaultHTTP = &http.Client{Timeout: DefaultTimeout}

// String returns the address of the API, and never the admin token.
func (c Client) String() string { return "admin API at " + c.base() }

// Format prints the same for every verb, so that none prints the admin token.
func (c Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

func (c Client) base() string {
	if c.BaseURL == "" {
		return DefaultBaseURL
	}
	base := strings.TrimSuffix(c.BaseURL, "/")
	parsed, err := url.Parse(base)
	if err != nil {
		return "an invalid address"
	}
	return parsed.Redacted()
}

// http returns the client that sends requests. It follows no redirects.
func (c *Client) http() *http.Client {
	client := *defaultHTTP
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// withoutTimeout returns a client for calls that are bounded only by their context.
func (c *Client) withoutTimeout() *http.Client {
	client := c.http()
	client.Timeout = 0
	return client
}

// An answer reports whether it was filled in: something other than the API may
// respond with JSON too, which must not pass for a key that was created or revoked.
type answer interface{ served() bool }

// call sends a request with a JSON body, if there is one, and reads the answer.
func (c *Client) call(ctx context.Context, method, path string, body any, into answer) error {
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	return receive(c.http(), request, into)
}

// request returns a request for a path below the mount.
func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var content io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	address := DefaultBaseURL
	if c.BaseURL != "" {
		address = strings.TrimSuffix(c.BaseURL, "/")
	}
	request, err := http.NewRequestWithContext(ctx, method, address+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	return request, nil
}

// receive sends a request and decodes its response, which is a JSON object.
func receive(client *http.Client, request *http.Request, into answer) error {
	body, _, err := fetch(client, request)
	if err != nil {
		return err
	}
	// A null would leave the answer as it is.
	if !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return ErrNotServed
	}
	if err := json.Unmarshal(body, into); err != nil || !into.served() {
		return ErrNotServed
	}
	return nil
}

// fetch sends a request, and returns the body of a response with status 2xx or 304,
// which it closes.
func fetch(client *http.Client, request *http.Request) ([]byte, *http.Response, error) {
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if err := refused(response); err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return body, response, nil
}
