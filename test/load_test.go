package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"text/template"
	"time"

	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/gatewaytest"
)

// load are requests that come in all the time.
type load struct {
	name    string // begins the ids of its requests
	clients []gatewaytest.Client
	right   atomic.Int64
	cancel  context.CancelFunc
	workers sync.WaitGroup

	mu sync.Mutex
	// unanswered are the requests without an answer, by id. How Caddy hands a
	// listening socket over is Caddy's: connections in the old socket's queue
	// are reset. But what Caddy has read must be answered.
	unanswered map[string]error
	sent       int
}

// startLoad sends requests of which it is known how they are answered.
func startLoad(t *testing.T, s *server, full, readOnly string) *load {
	return startLoadOf(t, s,
		ask{http.MethodGet, full, []int{http.StatusOK}},
		ask{http.MethodGet, readOnly, []int{http.StatusOK}},
		ask{http.MethodPost, readOnly, []int{http.StatusForbidden}},
		ask{http.MethodGet, gatewaytest.OtherToken(full), []int{http.StatusUnauthorized}},
	)
}

// ask is a request, and which answers to it are right.
type ask struct {
	method, token string
	want          []int
}

func startLoadOf(t *testing.T, s *server, asks ...ask) *load {
	return startLoadFrom(t, append(s.Clients(t), s.closingClient()), asks...)
}

// closingClient opens a connection for each request.
func (s *server) closingClient() gatewaytest.Client {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return gatewaytest.Client{Name: "HTTP/1.1, a connection each", Base: "http://" + s.Plain, Client: client}
}

// loadPause is between the requests of one client: without it, clients would take from the
// server the time in which it is to do what the test is about.
const loadPause = 2 * time.Millisecond

func startLoadFrom(t *testing.T, clients []gatewaytest.Client, asks ...ask) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{name: rand.Text(), clients: clients, cancel: cancel, unanswered: make(map[string]error)}
	t.Cleanup(l.stop)
	for _, c := range l.clients {
		l.workers.Go(func() {
			for ctx.Err() == nil {
				for _, a := range asks {
					l.one(ctx, t, c, a)
					select {
					case <-ctx.Done():
					case <-time.After(loadPause):
					}
				}
			}
		})
	}
	return l
}

// one makes a request, checks its status and returns it: 0 if there is no answer.
func (l *load) one(ctx context.Context, t *testing.T, c gatewaytest.Client, a ask) int {
	request, err := http.NewRequestWithContext(ctx, a.method, c.Base+"/public/v1/contacts", nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	id := l.nextID()
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("X-Load-Id", id)
	response, err := c.Do(request)
	if ctx.Err() != nil {
		return 0
	}
	if err != nil {
		l.mu.Lock()
		l.unanswered[id] = fmt.Errorf("%s over %s: %w", a.method, c.Name, err)
		l.mu.Unlock()
		return 0
	}
	response.Body.Close()
	if !slices.Contains(a.want, response.StatusCode) {
		t.Errorf("%s over %s: got status %d, want %d", a.method, c.Name, response.StatusCode, a.want)
	} else {
		l.right.Add(1)
	}
	return response.StatusCode
}

func (l *load) nextID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	return fmt.Sprintf("%s-%d", l.name, l.sent)
}

// all makes a request with a token in each way in which the load comes in.
func (l *load) all(t *testing.T, token string, want int) {
	t.Helper()
	for _, c := range l.clients {
		l.one(t.Context(), t, c, ask{http.MethodGet, token, []int{want}})
	}
}

// wantAnswered checks, when the server has stopped, that what it has read it has
// answered.
func (l *load) wantAnswered(t *testing.T, s *server) {
	t.Helper()
	if l.right.Load() == 0 {
		t.Error("no request got its answer")
	}
	read := regexp.MustCompile(`"X-Load-Id":\["([^"]+)"`).FindAllStringSubmatch(s.Log.String(), -1)
	if len(read) == 0 {
		t.Error("got no request of the load in the access log")
	}
	for _, match := range read {
		if err := l.unanswered[match[1]]; err != nil {
			t.Errorf("request %s was read and got no answer: %v", match[1], err)
		}
	}
}

func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
}

// createAfterReload makes a key while the admin endpoint may still be changing
// hands: a connection to the old one can be closed unread, and is tried again.
func (s *server) createAfterReload(name string) (client.Key, string) {
	s.T.Helper()
	var made client.NewKey
	s.afterReload(func(keys *client.Client) (err error) {
		made, err = keys.CreateKey(s.T.Context(), "acme", client.CreateRequest{Name: name, Preset: "full_access"})
		return err
	})
	return made.Key, made.Token
}

// revokeAfterReload ends a key likewise.
func (s *server) revokeAfterReload(key client.Key) {
	s.T.Helper()
	s.afterReload(func(keys *client.Client) error {
		_, err := keys.RevokeKey(s.T.Context(), key.WorkspaceID, key.ID, "")
		return err
	})
}

// afterReload makes a change until there is an answer.
func (s *server) afterReload(change func(*client.Client) error) {
	s.T.Helper()
	api := &client.Client{BaseURL: s.Keys().BaseURL, HTTP: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	s.Await("the admin endpoint", func() bool {
		err := change(api)
		if codeOf(err) != "" {
			s.T.Fatalf("changing a key: %v", err)
		}
		return err == nil
	})
}

// offer loads a configuration without a command, and so as fast as can be. It
// returns whether it was accepted, and what was said.
func (s *server) offer(config string) (accepted bool, said string) {
	s.T.Helper()
	var text bytes.Buffer
	must(s.T, template.Must(template.New("").Parse(config)).Execute(&text, s))
	s.Await("the admin endpoint", func() bool {
		request, err := http.NewRequest(http.MethodPost, "http://"+s.Admin+"/load", bytes.NewReader(text.Bytes()))
		must(s.T, err)
		request.Header = http.Header{"Content-Type": {"text/caddyfile"}, "Cache-Control": {"must-revalidate"}}
		request.Close = true
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return false // the endpoint is changing hands
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		accepted, said = response.StatusCode == http.StatusOK, string(body)
		return err == nil
	})
	return accepted, said
}
