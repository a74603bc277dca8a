// Package clienttest serves the admin API in process, for tests of programs that
// use package client:
//
//	server := clienttest.NewServer(t)
//	created, err := server.Client().CreateKey(ctx, "acme", request)
//
// It is the gateway's own API over a key store of its own, so that names, limits and
// refusals are the real ones. It needs no Caddy, and checks no requests.
package clienttest

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/agiled/caddy-api-keys/admin"
	"github.com/agiled/caddy-api-keys/admin/client"
	"github.com/agiled/caddy-api-keys/internal/apikey"
	"github.com/agiled/caddy-api-keys/internal/store"
)

// Rules of the server, which are the gateway's defaults.
const (
	// ExpiresIn is how long a key lives unless it is asked for less.
	ExpiresIn = 90 * 24 * time.Hour
	// MaxActiveKeys is how many keys of a workspace may be active at a time.
	MaxActiveKeys = 100
)

// Actor is who makes every change, in the audit trail.
const Actor = "clienttest"

// Server serves the API over HTTP on a loopback address.
type Server struct {
	// URL is the BaseURL for a [client.Client].
	URL string
	// Token is the admin token that every call has to present.
	Token string

	http  *httptest.Server
	store *store.Store
	dir   string
	api   *admin.Handler

	mu    sync.Mutex
	ahead time.Duration // of the machine's clock
}

// NewServer starts a server with an empty key store, and stops it at the end of the test.
// It fails the test if it cannot start.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatalf("starting the admin API: %v", err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stopping the admin API: %v", err)
		}
	})
	return s
}

// Start is [NewServer] for an example or a TestMain, which have no [testing.TB]. The
// caller has to close the server.
func Start() (*Server, error) {
	dir, err := os.MkdirTemp("", "clienttest")
	if err != nil {
		return nil, err
	}
	keys, err := store.Open(filepath.Join(dir, "keys"), zap.NewNop(), nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening a key store: %w", err), os.RemoveAll(dir))
	}
	s := &Server{Token: apikey.NewToken("admin").Reveal(), store: keys, dir: dir}
	s.api = admin.New(admin.Config{
		Keys:     func() admin.Keys { return keys },
		Rules:    admin.Rules{TokenPrefix: apikey.DefaultPrefix, Life: ExpiresIn, MaxActiveKeys: MaxActiveKeys},
		Clock:    s.clock,
		Log:      zap.NewNop(),
		Actor:    func(*http.Request) string { return Actor },
		RemoteIP: func(*http.Request) string { return "127.0.0.1" },
		Observe:  func(operation, outcome string) {},
	})
	s.http = httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = s.http.URL
	return s, nil
}

// Close stops the server and deletes its key store.
func (s *Server) Close() error {
	s.http.Close()
	return errors.Join(s.store.Close(), os.RemoveAll(s.dir))
}

// Client returns a client of the server.
func (s *Server) Client() *client.Client {
	return &client.Client{BaseURL: s.URL, Token: s.Token, HTTP: s.http.Client()}
}

// Advance moves the server's clock ahead: keys expire, and those that were replaced are
// revoked, as if that much time had passed.
func (s *Server) Advance(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += by
}

func (s *Server) clock() apikey.ClockReading {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now().Add(s.ahead)
	return apikey.ClockReading{Machine: now, Confirmed: now, Judged: now}
}

// serve asks for the admin token, except where the secret is in the path.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	token, _ := apikey.Bearer(r.Header.Get("Authorization"))
	if !s.api.IsOpen(r) && subtle.ConstantTimeCompare([]byte(token), []byte(s.Token)) == 0 {
		s.api.Unauthorized(w, r)
		return
	}
	s.api.ServeHTTP(w, r)
}
