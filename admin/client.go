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
	"github.com/go-json-experiment/json/jsontext"

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
	err = c.workspace(ws).call(ctx, http.MethodPost, "/keys", request, &answer)
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
	query := pageQuery(options.Limit, options.Cursor, url.Values{"status": {options.Status}, "q": {options.Query}})
	err = c.workspace(ws).call(ctx, http.MethodGet, "/keys"+query, nil, &answer)
	return answer, err
}

// ShowKey returns one key.
func (c *Client) ShowKey(ctx context.Context, ws, id string) (answer KeyAnswer, err error) {
	err = c.workspace(ws).key(id).call(ctx, http.MethodGet, "", nil, &answer)
	return answer, err
}

// RevokeKey ends a key at once.
func (c *Client) RevokeKey(ctx context.Context, ws, id, reason string) (answer KeyAnswer, err error) {
	err = c.workspace(ws).key(id).call(ctx, http.MethodPost, "/revoke", ReasonRequest{Reason: reason}, &answer)
	return answer, err
}

// UpdateKey gives a key another name or owner.
func (c *Client) UpdateKey(ctx context.Context, ws, id string, request UpdateRequest) (answer KeyAnswer, err error) {
	err = c.workspace(ws).key(id).call(ctx, http.MethodPatch, "", request, &answer)
	return answer, err
}

// RotateKey makes a replacement of a key, and returns its token.
func (c *Client) RotateKey(ctx context.Context, ws, id string, request RotateRequest) (answer RotateAnswer, err error) {
	err = c.workspace(ws).key(id).call(ctx, http.MethodPost, "/rotate", request, &answer)
	return answer, err
}

// RevokeAll ends every active key of a workspace.
func (c *Client) RevokeAll(ctx context.Context, ws, reason string) (answer RevokedAnswer, err error) {
	answer.Revoked = -1 // until it is answered
	err = c.workspace(ws).call(ctx, http.MethodPost, "/revoke-all", ReasonRequest{Reason: reason}, &answer)
	return answer, err
}

// Suspend refuses every key of a workspace until it is resumed.
func (c *Client) Suspend(ctx context.Context, ws, reason string) (answer WorkspaceAnswer, err error) {
	err = c.workspace(ws).call(ctx, http.MethodPost, "/suspend", ReasonRequest{Reason: reason}, &answer)
	return answer, err
}

// ShowWorkspace describes one workspace.
func (c *Client) ShowWorkspace(ctx context.Context, ws string) (answer WorkspaceAnswer, err error) {
	err = c.workspace(ws).call(ctx, http.MethodGet, "", nil, &answer)
	return answer, err
}

// Resume ends a suspension.
func (c *Client) Resume(ctx context.Context, ws string) (answer WorkspaceAnswer, err error) {
	err = c.workspace(ws).call(ctx, http.MethodPost, "/resume", nil, &answer)
	return answer, err
}

// LookUpToken says whose a token is.
func (c *Client) LookUpToken(ctx context.Context, token string) (answer KeyAnswer, err error) {
	err = c.call(ctx, http.MethodPost, "/tokens/lookup", TokenRequest{Token: token}, &answer)
	return answer, err
}

// RevokeToken ends the key of a token.
func (c *Client) RevokeToken(ctx context.Context, token, reason string) (answer KeyAnswer, err error) {
	err = c.call(ctx, http.MethodPost, "/tokens/revoke", TokenRequest{Token: token, Reason: reason}, &answer)
	return answer, err
}

// Suspensions returns a page of the workspaces that are suspended.
func (c *Client) Suspensions(ctx context.Context, limit int, cursor string) (answer SuspensionsAnswer, err error) {
	err = subject{client: c}.call(ctx, http.MethodGet, "/suspensions"+pageQuery(limit, cursor, nil), nil, &answer)
	return answer, err
}

// Events returns a page of the audit trail of a workspace or, with "", of all.
func (c *Client) Events(ctx context.Context, ws string, limit int, cursor string) (answer EventsAnswer, err error) {
	about := subject{client: c}
	if ws != "" {
		about = c.workspace(ws)
	}
	err = about.call(ctx, http.MethodGet, "/audit"+pageQuery(limit, cursor, nil), nil, &answer)
	return answer, err
}

// pageQuery returns the query of a call for a page of a list, with its "?".
func pageQuery(limit int, cursor string, more url.Values) string {
	query := url.Values{}
	for name, values := range more {
		if values[0] != "" {
			query[name] = values
		}
	}
	if limit > 0 {
		query.Set("limit", strconv.Itoa(limit))
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

// subject is what a call is about. An id that is none is refused before it is
// sent: a server that cleans paths would take ".." for a call about something
// else.
type subject struct {
	client *Client
	path   string
	err    error
}

func (c *Client) workspace(ws string) subject {
	return subject{c, "/workspaces/" + ws, apikey.ValidateWorkspaceID(ws)}
}

func (s subject) key(id string) subject {
	if s.err == nil && !apikey.ValidKeyID(id) {
		s.err = errNoKeyID
	}
	s.path += "/keys/" + id
	return s
}

func (s subject) call(ctx context.Context, method, below string, body any, into answer) error {
	if s.err != nil {
		return s.err
	}
	return s.client.call(ctx, method, s.path+below, body, into)
}

func (c *Client) call(ctx context.Context, method, path string, body any, into answer) error {
	request, err := c.request(ctx, method, path, body)
	if err != nil {
		return err
	}
	response, err := c.withoutRedirects().Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	received, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		return refusal(response.StatusCode, received)
	}
	// A null would empty what is to be filled in, and say nothing.
	if jsontext.Value(received).Kind() != '{' {
		return ErrNotServed
	}
	if err := json.Unmarshal(received, into); err != nil || !into.served() {
		return ErrNotServed
	}
	return nil
}

// withoutRedirects returns a client that goes nowhere else than where it was
// sent. The API redirects nobody, and where something else does so, a change or
// a token would go to whom it was not meant for.
func (c *Client) withoutRedirects() *http.Client {
	client := *c.HTTP
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client
}

// answer is what the API answers with.
type answer interface {
	// served reports whether the answer was filled in: something else may answer
	// with JSON as well, and none of it counts as a key that was made or revoked.
	served() bool
}

func (a *KeyAnswer) served() bool         { return a.Key.ID != "" }
func (a *KeysAnswer) served() bool        { return a.Keys != nil }
func (a *RotateAnswer) served() bool      { return a.Key.ID != "" }
func (a *WorkspaceAnswer) served() bool   { return a.Workspace.ID != "" }
func (a *EventsAnswer) served() bool      { return a.Events != nil }
func (a *SuspensionsAnswer) served() bool { return a.Suspensions != nil }
func (a *RevokedAnswer) served() bool     { return a.Revoked >= 0 }

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
