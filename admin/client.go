package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/go-json-experiment/json"

	"github.com/agiled/caddy-api-keys/internal/apikey"
)

// ErrNotServed means that something answered which does not serve this API.
var ErrNotServed = errors.New("it does not serve the API of the keys: is this Caddy built with caddy-api-keys, and new enough?")

// Client calls the API. Its errors are [*apikey.Error] where the API refused,
// [ErrNotServed], or the transport's.
type Client struct {
	// HTTP sends the requests.
	HTTP *http.Client
	// Base is the address of the mount, without a slash at its end.
	Base string
}

// CreateKey makes a key, and returns its token.
func (c *Client) CreateKey(ctx context.Context, ws string, request CreateRequest) (answer KeyAnswer, err error) {
	err = c.call(ctx, http.MethodPost, keysPath(ws), request, &answer)
	return answer, err
}

// ListOptions chooses what ListKeys returns. The zero value is the first page
// of all keys.
type ListOptions struct {
	Status string
	Query  string
	Limit  int
	Cursor string
}

// ListKeys returns a page of a workspace's keys.
func (c *Client) ListKeys(ctx context.Context, ws string, options ListOptions) (answer KeysAnswer, err error) {
	query := url.Values{}
	set := func(name, value string) {
		if value != "" {
			query.Set(name, value)
		}
	}
	set("status", options.Status)
	set("q", options.Query)
	set("cursor", options.Cursor)
	if options.Limit > 0 {
		set("limit", strconv.Itoa(options.Limit))
	}
	path := keysPath(ws)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	err = c.call(ctx, http.MethodGet, path, nil, &answer)
	return answer, err
}

// ShowKey returns one key.
func (c *Client) ShowKey(ctx context.Context, ws, id string) (answer KeyAnswer, err error) {
	err = c.call(ctx, http.MethodGet, keyPath(ws, id), nil, &answer)
	return answer, err
}

// RevokeKey ends a key at once.
func (c *Client) RevokeKey(ctx context.Context, ws, id, reason string) (answer KeyAnswer, err error) {
	err = c.call(ctx, http.MethodPost, keyPath(ws, id)+"/revoke", ReasonRequest{Reason: reason}, &answer)
	return answer, err
}

func keysPath(ws string) string    { return "/workspaces/" + url.PathEscape(ws) + "/keys" }
func keyPath(ws, id string) string { return keysPath(ws) + "/" + url.PathEscape(id) }

func (c *Client) call(ctx context.Context, method, path string, body any, into answer) error {
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode >= http.StatusBadRequest {
		return refusal(response.StatusCode, received)
	}
	if err := json.Unmarshal(received, into); err != nil || !into.served() {
		return ErrNotServed
	}
	return nil
}

// answer is what the API answers with.
type answer interface {
	// served reports whether the answer was filled in: something else may answer
	// with JSON as well, and none of it counts as a key that was made or revoked.
	served() bool
}

func (a *KeyAnswer) served() bool  { return a.Key.ID != "" }
func (a *KeysAnswer) served() bool { return a.Keys != nil }

func (c *Client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	if body == nil {
		return http.NewRequestWithContext(ctx, method, c.Base+path, nil)
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

// refusal returns the error of an answer that refuses: the API's own, or that
// of whatever stands before it.
func refusal(status int, body []byte) error {
	var answer errorAnswer
	if err := json.Unmarshal(body, &answer); err != nil || answer.Error == "" {
		return ErrNotServed
	}
	if answer.Code == "" {
		return fmt.Errorf("%s (HTTP %d)", answer.Error, status)
	}
	return &apikey.Error{Code: answer.Code, Field: answer.Field, Message: answer.Error}
}
